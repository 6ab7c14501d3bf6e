//! A webhook receiver.

use std::sync::{Arc, Mutex};

use hmac::{Hmac, Mac};
use serde_json::Value;
use sha2::Sha256;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::wait::eventually;

/// A receiver that answers each delivery with the next of `statuses`, then with 200.
pub(crate) struct Receiver {
    pub(crate) url: String,
    got: Arc<Mutex<Vec<Delivery>>>,
    _tasks: JoinSet<()>,
}

#[derive(Clone)]
pub(crate) struct Delivery {
    pub(crate) signature: String,
    pub(crate) body: String,
}

impl Receiver {
    pub(crate) async fn open(statuses: &[u16]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        let got = Arc::new(Mutex::new(Vec::new()));
        let mut tasks = JoinSet::new();
        let (seen, statuses) = (got.clone(), statuses.to_vec());
        tasks.spawn(async move {
            let mut statuses = statuses.into_iter();
            while let Ok((mut stream, _)) = listener.accept().await {
                let delivery = read(&mut stream).await;
                seen.lock().unwrap().push(delivery);
                let status = statuses.next().unwrap_or(200);
                let answer = format!(
                    "HTTP/1.1 {status} X\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
                );
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        });
        Self {
            url,
            got,
            _tasks: tasks,
        }
    }

    pub(crate) fn got(&self) -> Vec<Delivery> {
        self.got.lock().unwrap().clone()
    }

    pub(crate) async fn receives(&self, count: usize) -> Vec<Delivery> {
        eventually("the webhooks arrive", || self.got().len() >= count).await;
        self.got()
    }
}

async fn read(stream: &mut tokio::net::TcpStream) -> Delivery {
    let mut bytes = Vec::new();
    loop {
        stream.read_buf(&mut bytes).await.unwrap();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            continue;
        };
        let header = |name: &str| {
            head.lines().find_map(|line| {
                line.split_once(": ")
                    .filter(|(key, _)| key.eq_ignore_ascii_case(name))
            })
        };
        let length: usize = header("content-length").map_or(0, |(_, value)| value.parse().unwrap());
        if body.len() >= length {
            let signature = header("stripe-signature")
                .map(|(_, value)| value.to_owned())
                .unwrap_or_default();
            return Delivery {
                signature,
                body: body.to_owned(),
            };
        }
    }
}

impl Delivery {
    pub(crate) fn event(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    pub(crate) fn signed_by(&self, secret: &str) -> bool {
        let mut parts = self.signature.split(',');
        let time = parts.next().unwrap().strip_prefix("t=").unwrap();
        let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
        mac.update(format!("{time}.{}", self.body).as_bytes());
        let expected = format!("v1={}", hex::encode(mac.finalize().into_bytes()));
        parts.any(|part| part == expected)
    }
}
