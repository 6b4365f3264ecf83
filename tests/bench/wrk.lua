-- FRESH=1 in the environment: no head is like another, as from a crowd of browsers.
if os.getenv("FRESH") then
   local count = 0
   request = function()
      count = count + 1
      return wrk.format("GET", "/?n=" .. count, {Host = wrk.headers["Host"], ["X-Number"] = tostring(count)})
   end
end

-- What wrk measured, as one line of JSON: times in microseconds.
done = function(summary, latency, requests)
   io.write(string.format(
      'JSON {"requests":%d,"duration":%d,"bytes":%d,"p50":%d,"p90":%d,"p99":%d,"max":%d,' ..
      '"status":%d,"connect":%d,"read":%d,"write":%d,"timeout":%d}\n',
      summary.requests, summary.duration, summary.bytes,
      latency:percentile(50), latency:percentile(90), latency:percentile(99), latency.max,
      summary.errors.status, summary.errors.connect, summary.errors.read, summary.errors.write, summary.errors.timeout))
end
