package test

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
	"unicode"
)

var logRows = []row{
	{"product-2/access-log-json", "–", "--access-log-format json: one object an exchange and a tunnel, with the bytes of either direction and where it went.", own, logJSON},
	{"product-2/access-log-timings", "–", "The line tells how long connecting took, when the answer began, and when it had ended.", own, logTimings},
	{"product-2/access-log-ended-by", "T28, T51, T53", "The line tells who ended what did not end by itself: client, server or proxy, and the fault.", own, logEndedBy},
	{"product-2/access-log-drain", "T70", "A tunnel that is cut at the drain deadline has its line: ended by the proxy.", own, logDrain},
	{"product-2/access-log-drain-exchange", "T70", "So has an exchange.", own, logDrainExchange},
	{"product-2/access-log-squid", "–", "--access-log-format squid: the fields of squid's native log, a line an exchange and a tunnel.", own, logSquid},
	{"product-2/access-log-combined", "–", "--access-log-format combined: the fields of the combined log, with referer and agent.", own, logCombined},
	{"product-2/access-log-forgery", "T7", "In every format: nothing that a client sends makes another line or another field, or puts a query, a credential or a control character into the log.", own, logForgery},
	{"product-2/access-log-nonsense", "–", "A format that there is not: exit 1, and those that there are.", own, logNonsense},
	{"product-8/hup-reopens-log", "–", "SIGHUP opens the access log anew: five times renamed under load, no line is lost, torn or doubled.", own, logReopened},
	{"product-8/log-format-reload", "T69", "A reload that changes the format, or turns the log off, holds for the next line; each line has one format.", own, logFormatChanges},
}

// number is a field of a JSON line, -1 when it is not there.
func number(line map[string]any, key string) float64 {
	if v, ok := line[key].(float64); ok {
		return v
	}
	return -1
}

func logJSON(t *testing.T, _ *proxy) {
	p := start(t, "--access-log-format", "json")
	c, o := stage(t, p, serve(func(r *message) string { return ok(strings.Repeat("b", 1000)) }))
	began := time.Now()
	c.send("POST http://{O}/some/path?q=1 HTTP/1.1\r\nHost: {O}\r\nContent-Length: 5\r\n\r\nhello").answer()
	c.ask("HEAD http://{O}/ HTTP/1.1", "Host: {O}").answerTo("HEAD")
	p.lines(t, 2) // a line is written after its answer, and those of another connection could come first
	tunnel, e := stage(t, p, func(o *originConn) {
		o.in.Discard(7)
		o.send("0123456789")
		o.drain()
	})
	tunnel.tunnel("{O}").send("seven !").read("0123456789")
	tunnel.closeWrite()
	tunnel.ends()
	lines := p.lines(t, 3)
	if len(lines) != 3 {
		t.Fatalf("%d lines for 3: %v", len(lines), lines)
	}
	for n, want := range []map[string]any{
		{"mode": "forward", "method": "POST", "target": "http://" + o.addr + "/some/path", "endpoint": o.addr, "tries": 1.0, "status": 200.0, "bytes_received": 5.0, "bytes_sent": 1000.0, "fault": nil},
		{"mode": "forward", "method": "HEAD", "status": 200.0, "bytes_received": 0.0, "bytes_sent": 0.0, "fault": nil},
		{"mode": "forward", "method": "CONNECT", "target": e.addr, "endpoint": e.addr, "tries": 1.0, "status": 200.0, "bytes_received": 7.0, "bytes_sent": 10.0, "fault": nil, "ended_by": "client"},
	} {
		for key, value := range want {
			if lines[n][key] != value {
				t.Errorf("line %d: %s is %v, want %v in %v", n, key, lines[n][key], value, lines[n])
			}
		}
		at, err := time.Parse(time.RFC3339Nano, fmt.Sprint(lines[n]["time"]))
		if err != nil || at.Before(began.Add(-time.Second)) || at.After(time.Now().Add(time.Second)) {
			t.Errorf("time %v, %v", lines[n]["time"], err)
		}
		if from, err := netip.ParseAddrPort(fmt.Sprint(lines[n]["client"])); err != nil || !from.Addr().IsLoopback() {
			t.Errorf("client %v, %v", lines[n]["client"], err)
		}
	}
}

func logTimings(t *testing.T, _ *proxy) {
	p := start(t)
	c, _ := stage(t, p, func(o *originConn) {
		for r := o.request(); r != nil; r = o.request() {
			pause(200 * time.Millisecond)
			o.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello")
			pause(200 * time.Millisecond)
			o.send("world")
		}
	})
	for range 2 {
		c.ask("GET http://{O}/ HTTP/1.1", "Host: {O}").answer().want(t, 200, "helloworld")
	}
	e, _ := stage(t, p, echo)
	e.tunnel("{O}")
	for range 4 {
		pause(50 * time.Millisecond)
		e.send("ping").read("ping")
	}
	e.conn.Close()
	for n, line := range p.lines(t, 3) {
		dial, first, total := number(line, "dial_s"), number(line, "first_byte_s"), number(line, "total_s")
		switch {
		case (n == 1) != (dial == 0), dial < 0, first < dial, total < first:
			t.Errorf("line %d: dial %v, first byte %v, total %v", n, dial, first, total)
		case n < 2 && (first < 0.15 || total < first+0.15):
			t.Errorf("line %d: first byte %v, total %v of an answer in two parts", n, first, total)
		case n == 2 && total < 0.15:
			t.Errorf("a tunnel of 200 ms has %v", total)
		}
	}
}

// ending is one way for an exchange or a tunnel to end, and what the log says.
type ending struct {
	name   string
	script func(*originConn)
	play   func(*client)
	status float64
	by     string // words that may stand there, "-" for none
	fault  string // likewise
	flag   string // a limit that is to be reached
}

// half is a script: half an answer, and then.
func half(then func(*originConn)) func(*originConn) {
	return func(o *originConn) {
		o.head()
		o.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello")
		then(o)
	}
}

func waits(o *originConn) { o.drain() }

func endings() []ending {
	get := func(c *client) *client { return c.ask("GET http://{O}/ HTTP/1.1", "Host: {O}") }
	begun := func(c *client) *client { get(c).head(); c.read("hello"); return c }
	open := func(c *client) *client { return c.tunnel("{O}").send("ping").read2("ping") }
	upgraded := func(c *client) *client {
		c.ask("GET http://{O}/ HTTP/1.1", "Host: {O}", "Connection: Upgrade", "Upgrade: websocket")
		if m := c.answer(); m.status() != 101 {
			c.Fatalf("got %q", m.raw)
		}
		return c.send("ping").read2("ping")
	}
	switches := func(o *originConn) { o.head(); o.send(switching); echo(o) }
	once := func(end func(*originConn)) func(*originConn) {
		return func(o *originConn) {
			o.in.Discard(4)
			o.send("ping")
			end(o)
		}
	}
	end := func(c *client) { c.rest() }
	return []ending{
		{"by itself", says(ok("fine")), func(c *client) { get(c).answer() }, 200, "- server", "", ""},
		{"with the connection", saysAndCloses("HTTP/1.1 200 OK\r\n\r\nfine"), func(c *client) { get(c).answer() }, 200, "- server", "", ""},
		{"client leaves mid-answer", half(waits), func(c *client) { reset(begun(c).conn) }, 200, "client", "connection_terminated", ""},
		{"client leaves before the answer", waits, func(c *client) { reset(get(c).conn) }, 0, "client", "connection_terminated", ""},
		{"origin breaks off", half(func(*originConn) {}), func(c *client) { get(c).rest() }, 200, "server", "http_response_incomplete", ""},
		{"origin resets", half(func(o *originConn) { reset(o) }), func(c *client) { get(c).rest() }, 200, "server", "http_response_incomplete connection_terminated", ""},
		{"origin says nothing", func(o *originConn) { o.head() }, func(c *client) { get(c).answer() }, 502, "proxy", "connection_terminated", ""},
		{"answer stops", half(waits), func(c *client) { get(c).rest() }, 200, "proxy", "connection_read_timeout", "--idle-timeout"},
		{"no answer", waits, func(c *client) { get(c).answer() }, 504, "proxy", "http_response_timeout", "--response-timeout"},
		{"refused", nil, func(c *client) { c.ask("GET http://"+refusing(c)+"/ HTTP/1.1", "Host: x").answer() }, 502, "proxy", "connection_refused", ""},
		{"no sense", nil, func(c *client) { c.ask("GET http:///x HTTP/1.1", "Host: x").answer() }, 400, "proxy", "http_request_error", ""},
		{"slow head", nil, func(c *client) { c.send("GET http").rest() }, 408, "proxy", "http_request_error", "--header-timeout"},
		{"tunnel, client ends", echo, func(c *client) { open(c).closeWrite(); end(c) }, 200, "client", "", ""},
		{"tunnel, client resets", echo, func(c *client) { reset(open(c).conn) }, 200, "client", "connection_terminated", ""},
		{"tunnel, origin ends", once(func(*originConn) {}), func(c *client) { open(c).rest(); c.conn.Close() }, 200, "server", "", ""},
		{"tunnel, origin resets", once(func(o *originConn) { reset(o) }), func(c *client) { open(c).rest() }, 200, "server", "connection_terminated", ""},
		{"tunnel, silence", echo, func(c *client) { open(c).rest() }, 200, "proxy", "connection_read_timeout", "--tunnel-idle-timeout"},
		{"upgrade, client ends", switches, func(c *client) { upgraded(c).closeWrite(); end(c) }, 101, "client", "", ""},
		{"upgrade, silence", switches, func(c *client) { upgraded(c).rest() }, 101, "proxy", "connection_read_timeout", "--tunnel-idle-timeout"},
	}
}

// read2 is read, for chains.
func (c *client) read2(want string) *client {
	c.Helper()
	c.read(want)
	return c
}

func logEndedBy(t *testing.T, _ *proxy) {
	for _, e := range endings() {
		t.Run(e.name, func(t *testing.T) {
			t.Parallel()
			var flags []string
			if e.flag != "" {
				flags = []string{e.flag, "1s"}
			}
			p := start(t, flags...)
			script := e.script
			if script == nil {
				script = waits
			}
			c, _ := stage(t, p, script)
			e.play(c)
			line := p.lines(t, 1)[0]
			by, fault := "-", ""
			if line["ended_by"] != nil {
				by = fmt.Sprint(line["ended_by"])
			}
			if line["fault"] != nil {
				fault = fmt.Sprint(line["fault"])
			}
			if !oneOf(by, e.by) || !oneOf(fault, e.fault) || number(line, "status") != e.status {
				t.Errorf("want status %v, ended by %q with fault %q, but the log says %v", e.status, e.by, e.fault, line)
			}
			p.stop(t)
			if n := strings.Count(p.accessLog(t), "\n"); n != 1 {
				t.Errorf("%d lines:\n%s", n, p.accessLog(t))
			}
		})
	}
}

// oneOf tells whether a word is among words; none is among no words.
func oneOf(word, words string) bool {
	if words == "" {
		return word == ""
	}
	for w := range strings.FieldsSeq(words) {
		if w == word {
			return true
		}
	}
	return false
}

func logDrain(t *testing.T, _ *proxy) {
	cutByDrain(t, echo, func(c *client) { c.tunnel("{O}").send("ping").read("ping") })
}

func logDrainExchange(t *testing.T, _ *proxy) {
	cutByDrain(t, half(waits), func(c *client) {
		c.ask("GET http://{O}/ HTTP/1.1", "Host: {O}").head()
		c.read("hello")
	})
}

// cutByDrain cuts something at the drain deadline, and wants its line to say so.
func cutByDrain(t *testing.T, script func(*originConn), play func(*client)) {
	t.Helper()
	p := start(t, "--drain-timeout", "1s")
	c, _ := stage(t, p, script)
	play(c)
	p.signal(t, syscall.SIGTERM)
	if code := p.wait(t); code != 3 {
		t.Errorf("exit code %d, want 3", code)
	}
	if line := p.lines(t, 1)[0]; line["ended_by"] != "proxy" || line["fault"] == nil || number(line, "bytes_sent") < 4 {
		t.Errorf("the log says %v", line)
	}
}

// logged is a few exchanges and a tunnel, whose lines another format has.
func logged(t *testing.T, p *proxy) (c *client, web, far *origin) {
	t.Helper()
	// A line is written after its answer, so that connections can overtake each
	// other: each part waits for its own.
	written := func(n int) {
		poll(t, fmt.Sprint(n, " lines"), func() bool { return strings.Count(p.accessLog(t), "\n") == n })
	}
	c, web = stage(t, p, says(ok("fine")))
	c.ask("GET http://{O}/path?q=sesame HTTP/1.1", "Host: {O}", "User-Agent: some agent/1", "Referer: http://user:sesame@ref.example/at?q=sesame#sesame").answer().want(t, 200, "fine")
	c.ask("GET http://"+refusing(t)+"/ HTTP/1.1", "Host: x").answer().wantOwn(t, 502, "connection_refused")
	written(2)
	bad := dial(t, p)
	bad.send("nonsense\r\n\r\n").answer().wantOwn(t, 400)
	written(3)
	tunnel, far := stage(t, p, echo)
	tunnel.tunnel("{O}").send("ping").read("ping")
	tunnel.closeWrite()
	tunnel.ends()
	written(4)
	return c, web, far
}

func logSquid(t *testing.T, _ *proxy) {
	p := start(t, "--access-log-format", "squid")
	_, web, far := logged(t, p)
	want := []string{
		`TCP_MISS/200 4 GET http://` + web.addr + `/path - HIER_DIRECT/127\.0\.0\.1 -`,
		`TCP_MISS/502 \d+ GET http://127\.0\.0\.1:\d+/ - HIER_NONE/- -`,
		`NONE_NONE/400 \d+ \S+ \S+ - HIER_NONE/- -`,
		`TCP_TUNNEL/200 4 CONNECT ` + far.addr + ` - HIER_DIRECT/127\.0\.0\.1 -`,
	}
	n := 0
	for line := range strings.Lines(p.accessLog(t)) {
		form := regexp.MustCompile(`^ {0,3}\d{6,10}\.\d{3} {1,6}\d+ 127\.0\.0\.1 ` + want[n] + "\n$")
		if !form.MatchString(line) {
			t.Errorf("line %d is %q, not %v", n, line, form)
		}
		n++
	}
}

func logCombined(t *testing.T, _ *proxy) {
	p := start(t, "--access-log-format", "combined")
	_, web, far := logged(t, p)
	want := []string{
		`"GET http://` + web.addr + `/path HTTP/1\.1" 200 4 "http://ref\.example/at" "some agent/1"`,
		`"GET http://127\.0\.0\.1:\d+/ HTTP/1\.1" 502 \d+ "-" "-"`,
		`"[^"]*" 400 \d+ "-" "-"`,
		`"CONNECT ` + far.addr + ` HTTP/1\.1" 200 4 "-" "-"`,
	}
	n := 0
	for line := range strings.Lines(p.accessLog(t)) {
		form := regexp.MustCompile(`^127\.0\.0\.1 - - \[\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4}\] ` + want[n] + "\n$")
		if !form.MatchString(line) {
			t.Errorf("line %d is %q, not %v", n, line, form)
		}
		n++
	}
}

// plainLines are what a line looks like in each format, whatever was asked for.
var plainLines = map[string]*regexp.Regexp{
	"json":     regexp.MustCompile(`^\{"time":"[^"]+"(,"\w+":("([^"\\]|\\u00[0-9A-Fa-f]{2}|\\.)*"|[0-9.]+))+\}$`),
	"squid":    regexp.MustCompile(`^ *\d+\.\d{3} +\d+ \S+ \S+/\d{3} \d+ \S+ \S+ \S+ \S+/\S+ -$`),
	"combined": regexp.MustCompile(`^\S+ - \S+ \[[^\]]+\] "([^"\\]|\\x[0-9A-F]{2})*" \d{3} (\d+|-) "([^"\\]|\\x[0-9A-F]{2})*" "([^"\\]|\\x[0-9A-F]{2})*"$`),
}

// hostile are parts of a head that want to be something else in a log.
var hostile = []string{
	`"`, `\`, `\"`, `"} {"`, `' - -`, "\x80\xff", "ü", "\xe2\x80\xa8", "%0d%0a", `\u000a`, `\n`, `" 200 1 "-" "-`, "[x]", "<script>", "\x1b[31m", "\t", "\x7f",
}

func logForgery(t *testing.T, _ *proxy) {
	for format, form := range plainLines {
		t.Run(format, func(t *testing.T) {
			t.Parallel()
			p := start(t, "--access-log-format", format)
			o := newOrigin(t, says(ok("fine")))
			sent := 0
			say := func(head string) {
				c := dial(t, p)
				c.fill = o.places
				c.try(head + "\r\n\r\n")
				c.conn.CloseWrite()
				if got, err := c.rest(); got != "" || err != nil {
					sent++ // it was answered
				}
			}
			for _, part := range hostile {
				say("GET http://{O}/" + part + "?sesame=sesame HTTP/1.1\r\nHost: {O}")
				say("GET http://{O}/ HTTP/1.1\r\nHost: {O}\r\nUser-Agent: a" + part + "z\r\nReferer: http://r.example/" + part + "?sesame")
				say("CONNECT user:sesame@x" + part + ":1 HTTP/1.1\r\nHost: x\r\nProxy-Authorization: Basic sesame")
				say("GET http://u:sesame@{O}/" + part + " HTTP/1.1\r\nHost: {O}\r\nCookie: sesame")
				say("G" + part + "T http://{O}/ HTTP/1.1\r\nHost: {O}\r\nAuthorization: sesame")
				say(part + " sesame@" + part)
			}
			p.stop(t)
			log := p.accessLog(t)
			lines := 0
			for line := range strings.Lines(log) {
				lines++
				line = strings.TrimSuffix(line, "\n")
				if !form.MatchString(line) || strings.ContainsFunc(line, func(r rune) bool { return unicode.IsControl(r) || r > unicode.MaxASCII }) {
					t.Errorf("line %q", line)
				}
			}
			if lines != sent || lines < len(hostile) {
				t.Errorf("%d lines for %d answers", lines, sent)
			}
			if strings.Contains(log+p.log(), "sesame") {
				t.Errorf("a secret stands in a log:\n%s%s", log, p.log())
			}
		})
	}
}

func logNonsense(t *testing.T, _ *proxy) {
	for _, format := range []string{"xml", "JSON", ""} {
		complains(t, 1, nil, []string{"forward", "--listen", "127.0.0.1:0", "--access-log-format", format}, []string{"--access-log-format", "json", "squid", "combined"})
	}
}

// numbered is a client that asks for one path after another, none of them
// twice.
func numbered(proxy, target string, next *atomic.Int64, over <-chan struct{}) error {
	k := &keeper{proxy: proxy}
	defer k.close()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-over:
			return nil
		case <-tick.C:
		}
		if err := k.get(fmt.Sprintf("%s/%d", target, next.Add(1))); err != nil {
			return err
		}
	}
}

func logReopened(t *testing.T, _ *proxy) {
	p := start(t)
	o := newOrigin(t, says(ok("fine")))
	var next atomic.Int64
	var clients sync.WaitGroup
	over, failures := make(chan struct{}), make(chan error, 8)
	for range cap(failures) {
		clients.Go(func() { failures <- numbered(p.addr, o.addr, &next, over) })
	}
	for n := range 5 {
		goesOn := next.Load() + 100
		poll(t, "more exchanges", func() bool { return next.Load() > goesOn })
		if err := os.Rename(p.access, fmt.Sprintf("%s.%d", p.access, n)); err != nil {
			t.Fatal(err)
		}
		p.signal(t, syscall.SIGHUP)
		poll(t, "lines in the new file", func() bool {
			info, err := os.Stat(p.access)
			return err == nil && info.Size() > 0 && p.says(taken) == n+1
		})
	}
	close(over)
	clients.Wait()
	for range cap(failures) {
		if err := <-failures; err != nil {
			t.Error(err)
		}
	}
	p.stop(t)
	files, err := filepath.Glob(p.access + "*")
	if err != nil || len(files) != 6 {
		t.Fatalf("files %v, %v", files, err)
	}
	seen := map[any]int{}
	for _, file := range files {
		for _, line := range parseLines(t, file) {
			seen[line["target"]]++
		}
	}
	for n := range next.Load() {
		target := fmt.Sprintf("http://%s/%d/", o.addr, n+1)
		if seen[target] != 1 {
			t.Errorf("%s stands %d times in the logs", target, seen[target])
		}
	}
}

func logFormatChanges(t *testing.T, _ *proxy) {
	text := func(format string) string {
		return strings.Replace(conf(), "access.log", "access.log, format: "+format, 1)
	}
	p := launch{conf: text("json")}.start(t)
	c, _ := stage(t, p, says(ok("fine")))
	want := 0
	for _, format := range []string{"json", "squid", "combined", "json"} {
		p.reload(t, text(format))
		for range 3 {
			c.ask("GET http://{O}/"+format+" HTTP/1.1", "Host: {O}").answer().want(t, 200, "fine")
		}
		want += 3
	}
	p.reload(t, strings.Replace(conf(), "access.log", "off", 1))
	c.ask("GET http://{O}/off HTTP/1.1", "Host: {O}").answer().want(t, 200, "fine")
	p.stop(t)
	n := 0
	for line := range strings.Lines(p.accessLog(t)) {
		for format, form := range plainLines {
			if match := form.MatchString(strings.TrimSuffix(line, "\n")); match != strings.Contains(line, "/"+format) {
				t.Errorf("as %s: %q", format, line)
			}
		}
		n++
	}
	if n != want {
		t.Errorf("%d lines, want %d", n, want)
	}
}
