-- Creates customers over HTTP, each with an e-mail of its own: wrk's part of scripts/bench.
-- Its argument is the start of the e-mails.

local threads = 0

function setup(thread)
    threads = threads + 1
    thread:set("number", threads)
end

function init(arguments)
    prefix = string.format("%s-%03d", arguments[1], number)
    count = 0
end

function request()
    count = count + 1
    local body = string.format('{"name":"Bench Customer","email":"%s-%09d@example.com"}', prefix, count)
    return wrk.format("POST", "/api/v1/customers", { ["Content-Type"] = "application/json" }, body)
end
