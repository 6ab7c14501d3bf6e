//! The open connections of a server: who is admitted while the maximum is reached, and who gives way.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use poem::web::RemoteAddr;
use tokio::time::Instant;

use super::activity::{Activity, Phase, Seen};
use super::limits::{EVICTABLE_AFTER, Limits};

/// What a connection that waits for its client waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Waiting {
    /// Another request.
    Between,
    /// That, or the rest of a request's head.
    ForHead,
}

pub(super) struct Table {
    name: &'static str,
    limits: Limits,
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    next_id: u64,
    entries: HashMap<u64, Entry>,
    /// How many of them are not reserved ones, in total and by peer.
    regular: usize,
    peers: HashMap<IpAddr, usize>,
}

struct Entry {
    peer: IpAddr,
    is_reserved: bool,
    activity: Arc<Activity>,
}

/// The place of one connection; given back when it is dropped.
pub(super) struct Slot {
    pub(super) activity: Arc<Activity>,
    /// Only health checks are answered on it.
    pub(super) is_reserved: bool,
    id: u64,
    table: Arc<Table>,
}

impl Table {
    pub(super) fn new(name: &'static str, limits: Limits) -> Self {
        Self {
            name,
            limits,
            open: Mutex::default(),
        }
    }

    /// A place for a connection of `peer`. While the maximum is reached, the connection that has made the server wait
    /// longest gives way; if none has, the place is a reserved one; if there is none left, there is no place.
    pub(super) fn admit(self: &Arc<Self>, peer: IpAddr) -> Option<Slot> {
        let mut open = self.lock();
        let of_peer = open.peers.get(&peer).copied().unwrap_or(0);
        let has_place = if of_peer >= self.limits.per_peer {
            open.evict(|entry| !entry.is_reserved && entry.peer == peer)
        } else if open.regular >= self.limits.connections {
            open.evict(|entry| !entry.is_reserved)
        } else {
            true
        };
        let reserved = open.entries.len() - open.regular;
        let is_reserved = !has_place;
        if is_reserved && reserved >= self.limits.reserved && !open.evict(|entry| entry.is_reserved)
        {
            return None;
        }
        self.count(if is_reserved { "reserved" } else { "accepted" });
        let activity = Arc::new(Activity::new());
        let id = open.insert(Entry {
            peer,
            is_reserved,
            activity: activity.clone(),
        });
        self.gauge(&open);
        Some(Slot {
            activity,
            is_reserved,
            id,
            table: self.clone(),
        })
    }

    /// Closes the connection that has made the server wait longest.
    pub(super) fn evict_longest_waiting(&self) {
        self.lock().evict(|_| true);
    }

    /// Closes every connection that waits for this.
    pub(super) fn evict_all(&self, waiting: Waiting) {
        let open = self.lock();
        for entry in open.entries.values() {
            let seen = entry.activity.seen();
            let is_meant = match waiting {
                Waiting::Between => seen.phase == Phase::Idle,
                Waiting::ForHead => matches!(seen.phase, Phase::Idle | Phase::Head),
            };
            if is_meant {
                entry.activity.close(seen);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn count(&self, outcome: &'static str) {
        metrics::counter!(
            "http_connections_total", "server" => self.name, "outcome" => outcome
        )
        .increment(1);
    }

    fn gauge(&self, open: &Open) {
        #[expect(clippy::cast_precision_loss, reason = "there are never so many")]
        metrics::gauge!("http_connections", "server" => self.name).set(open.entries.len() as f64);
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut open = self.table.lock();
        open.remove(self.id);
        self.table.gauge(&open);
    }
}

impl Open {
    fn insert(&mut self, entry: Entry) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        if !entry.is_reserved {
            self.regular += 1;
            *self.peers.entry(entry.peer).or_default() += 1;
        }
        self.entries.insert(id, entry);
        id
    }

    fn remove(&mut self, id: u64) {
        let Some(entry) = self.entries.remove(&id) else {
            return;
        };
        if entry.is_reserved {
            return;
        }
        self.regular -= 1;
        if let Some(of_peer) = self.peers.get_mut(&entry.peer) {
            *of_peer -= 1;
            if *of_peer == 0 {
                self.peers.remove(&entry.peer);
            }
        }
    }

    /// Closes the one of these that has made the server wait longest, if that is long enough.
    fn evict(&mut self, is_meant: impl Fn(&Entry) -> bool) -> bool {
        let now = Instant::now();
        let waiting = self.entries.iter().filter(|(_, entry)| is_meant(entry));
        let waiting = waiting.map(|(id, entry)| (*id, entry.activity.seen()));
        let evictable = |seen: &Seen| {
            seen.phase.is_waiting() && now.saturating_duration_since(seen.since) >= EVICTABLE_AFTER
        };
        let longest = waiting
            .filter(|(_, seen)| evictable(seen))
            .min_by_key(|(_, seen)| seen.since);
        let Some((id, seen)) = longest else {
            return false;
        };
        let closed = self.entries[&id].activity.close(seen);
        if closed {
            self.remove(id);
        }
        closed
    }
}

/// The peer that a connection is counted for: its address, or its network for IPv6, where one client has many
/// addresses.
pub(super) fn peer(remote: &RemoteAddr) -> IpAddr {
    let address = remote
        .as_socket_addr()
        .map(|address| address.ip().to_canonical());
    match address {
        Some(IpAddr::V6(address)) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        Some(address) => address,
        None => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;

    const ONE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
    const OTHER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 2));

    fn table(connections: usize, per_peer: usize, reserved: usize) -> Arc<Table> {
        let limits = Limits {
            connections,
            per_peer,
            reserved,
            ..Limits::default()
        };
        Arc::new(Table::new("test", limits))
    }

    fn admit(table: &Arc<Table>, peer: IpAddr, phase: Phase) -> Slot {
        let slot = table.admit(peer).expect("there is a place");
        slot.activity.enter(phase);
        slot
    }

    #[tokio::test(start_paused = true)]
    async fn longest_waiting_connection_of_the_peer_gives_way() {
        let table = table(10, 2, 1);
        let other = admit(&table, OTHER, Phase::Idle);
        tokio::time::advance(EVICTABLE_AFTER).await;
        let first = admit(&table, ONE, Phase::Work);
        let second = admit(&table, ONE, Phase::Idle);
        let third = admit(&table, ONE, Phase::Idle);
        assert!(third.is_reserved, "nobody has waited for long enough");
        drop(third);
        tokio::time::advance(EVICTABLE_AFTER).await;
        let fourth = admit(&table, ONE, Phase::Idle);
        assert!(!fourth.is_reserved);
        assert_eq!(second.activity.seen().phase, Phase::Closing);
        assert_eq!(first.activity.seen().phase, Phase::Work);
        assert_eq!(other.activity.seen().phase, Phase::Idle);
    }

    #[tokio::test(start_paused = true)]
    async fn reserved_places_are_left_when_all_others_work() {
        let table = table(2, 2, 1);
        let working = [(); 2].map(|()| admit(&table, ONE, Phase::Work));
        tokio::time::advance(EVICTABLE_AFTER).await;
        let reserved = admit(&table, OTHER, Phase::Head);
        assert!(reserved.is_reserved);
        assert!(table.admit(OTHER).is_none(), "the reserved one is fresh");
        tokio::time::advance(EVICTABLE_AFTER).await;
        assert!(admit(&table, OTHER, Phase::Work).is_reserved);
        assert_eq!(reserved.activity.seen().phase, Phase::Closing);
        drop((working, reserved));
        assert!(!admit(&table, ONE, Phase::Idle).is_reserved);
    }

    #[tokio::test(start_paused = true)]
    async fn drain_closes_first_what_is_idle() {
        let table = table(10, 10, 1);
        let [idle, head, work] =
            [Phase::Idle, Phase::Head, Phase::Work].map(|phase| admit(&table, ONE, phase));
        let phases = || [&idle, &head, &work].map(|slot| slot.activity.seen().phase);
        table.evict_all(Waiting::Between);
        assert_eq!(phases(), [Phase::Closing, Phase::Head, Phase::Work]);
        table.evict_all(Waiting::ForHead);
        assert_eq!(phases(), [Phase::Closing, Phase::Closing, Phase::Work]);
    }

    #[test]
    fn peer_is_an_address_or_an_ipv6_network() {
        let of = |text: &str| peer(&RemoteAddr(text.parse::<SocketAddr>().unwrap().into()));
        assert_eq!(of("192.0.2.1:7"), ONE);
        assert_eq!(of("[::ffff:192.0.2.1]:7"), ONE);
        assert_eq!(of("[2001:db8::1]:7"), of("[2001:db8::2]:8"));
        assert_ne!(of("[2001:db8::1]:7"), of("[2001:db8:0:1::1]:7"));
    }
}
