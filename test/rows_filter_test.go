package test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var filterRows = []row{
	{"product-2/filter-fields", "–", "A filter takes fields out, sets them in place of all of their name, and replaces in each value, of requests and of answers; what it does not name passes as it came.", own, filterFields},
	{"product-2/filter-order", "–", "All filters that match apply in order, each on what the one before has left, until one ends the request.", own, filterOrder},
	{"product-2/filter-match", "–", "A filter is for the requests that its terms hold for, by host, port, method, path, client and user, in every spelling; others on the same connection pass untouched.", own, filterMatch},
	{"product-7/filter-deny", "–", "A request that a filter denies: 403 with its name and the contact, a page for a browser, the phase in the log; not dialled, the connection goes on.", own, filterDeny},
	{"product-2/filter-types", "–", "Requests and answers are denied by media type, whatever its case and parameters, by group too; what has no type is of none.", own, filterTypes},
	{"product-2/filter-request-size", "–", "A request body larger than the size: 413 before it is read if its length says so, cut where it exceeds otherwise, so that the origin sees no whole request; a byte less passes.", own, filterRequestSize},
	{"product-2/filter-answer-size", "–", "An answer larger than the size: 403 if its length says so, cut so that it does not look whole otherwise; a byte less passes, and HEAD and 304 have no size.", own, filterAnswerSize},
	{"product-2/filter-all-terms", "–", "What a denial names must all hold: type and size, of the request and of the answer.", own, filterAllTerms},
	{"product-2/filter-respond", "–", "An answer of our own, from text or file, to GET and HEAD, with a request body too; the connection goes on aligned, nothing is dialled.", own, filterRespond},
	{"product-2/filter-redirect", "–", "A redirect with each status, path and query kept or not; no path leads to another host.", own, filterRedirect},
	{"9110-5.5/filter-hostile-values", "–", "Fields that are hostile, many, long, or beyond ASCII are replaced or pass; what a filter makes of them never breaks a line.", own, filterHostile},
	{"9110-7.6.1/filter-nominated", "T9", "A field that a filter sets stays, although a client or an origin names it in Connection.", own, filterNominated},
	{"product-2/filter-early-answer", "T31", "A filter that ends an upload of 8 MiB: its answer arrives, to a client that reads first and to one that sends all first; nothing of the body is a request.", own, filterEarlyAnswer},
	{"9112-9.3.2/filter-pipelined", "T38", "Requests in one packet of which filters deny, answer, redirect and pass some: as many answers, in order.", own, filterPipelined},
	{"product-2/filter-expect", "T35", "A filter that ends a request with Expect: 100-continue answers at once; one that doesn't lets 100 come from the origin.", own, filterExpect},
	{"product-2/filter-connect", "–", "No filter applies to CONNECT itself, nor to a tunnel.", own, filterConnect},
	{"product-2/filter-inspected", "–", "Filters apply inside an opened tunnel, all kinds of them, with https in redirects.", own, filterInspected},
	{"9110-7.8/filter-websocket", "T62", "Filters apply to a WebSocket's handshake, and not to its frames.", own, filterWebSocket},
	{"product-2/filter-interim", "T33", "Interim answers pass untouched; the final one is edited.", own, filterInterim},
	{"product-2/filter-reload", "T69", "A reload changes the filters from the next request of a kept connection on; a file that answers are made of is read again.", own, filterReload},
	{"product-2/filter-rules-first", "–", "Rules decide before filters: what is denied by a rule is told by its name, what asks for credentials is a 407.", own, filterRulesFirst},
	{"product-2/filter-misspelt", "–", "A filter that makes no sense, or names a field that frames, routes or steers, or that the profile drops: `check` says where and what to do.", own, filterMisspelt},
	{"product-6/filter-metrics", "–", "Requests are counted by lane, and denials with their phase.", own, filterMetrics},
}

// startFilters is a lenient proxy with these filters, to which all names lead to
// 127.0.0.1.
func startFilters(t testing.TB, filters ...string) *proxy {
	t.Helper()
	return launch{conf: filtersText(t, filters...)}.start(t)
}

// filtersText is its file. A line that is no filter, "key: value", stands for itself.
func filtersText(t testing.TB, filters ...string) string {
	t.Helper()
	s := newNames(t, always("127.0.0.1"))
	l := []string{`resolver: ["` + s.addr + `"]`}
	list := []string{"filters:"}
	for _, f := range filters {
		if strings.HasPrefix(f, "{") {
			list = append(list, "  - "+f)
		} else {
			l = append(l, f)
		}
	}
	return conf(append(l, list...)...)
}

// mirror is a script: each request's head comes back as the body, under fields
// of its own.
func mirror(fields string) func(*originConn) {
	return serve(func(r *message) string {
		if r.method() == "HEAD" {
			return "HTTP/1.1 200 OK\r\n" + fields + "\r\n"
		}
		return fmt.Sprintf("HTTP/1.1 200 OK\r\n%sContent-Length: %d\r\n\r\n%s", fields, len(r.raw), r.raw)
	})
}

func filterFields(t *testing.T, _ *proxy) {
	p := startFilters(t,
		`{request: {set: ["X-Team: payments", "User-Agent: ours"], remove: [Cookie, X-Gone], replace: [{header: Accept, match: "text/(\\w+)", with: "application/$1"}, {header: X-Absent, match: ".*", with: made}]},
          answer: {set: ["X-Frame-Options: DENY"], remove: [Server, X-None], replace: [{header: Location, match: "^http:", with: "https:"}, {header: Set-Cookie, match: "$", with: "; Secure"}]}}`)
	c, o := stage(t, p, mirror("Server: inner/1\r\nLocation: http://a.test/\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\nx-frame-options: ALLOW\r\nX-Frame-Options: ALLOW\r\nX-Kept: yes\r\n"))
	m := c.ask("GET http://a.test:{P}/ HTTP/1.1", "Host: a.test", "cookie: a=1", "COOKIE: b=2", "x-team: other", "X-TEAM: more", "Accept: text/html, text/plain", "accept: text/css", "X-Kept: as it came", "x-gone:").answer()
	if m.status() != 200 || m.err != nil {
		t.Fatalf("got %q, %v", m.raw, m.err)
	}
	got := o.seen()[0]
	got.without(t, "Cookie", "X-Gone", "X-Absent")
	for name, want := range map[string]string{"X-Team": "payments", "User-Agent": "ours", "X-Kept": "as it came", "Accept": "application/html, application/plain|application/css"} {
		if all := strings.Join(got.all(name), "|"); all != want {
			t.Errorf("the origin got %s %q, want %q", name, all, want)
		}
	}
	m.without(t, "Server", "Via", "Date", "X-None")
	for name, want := range map[string]string{"Location": "https://a.test/", "Set-Cookie": "a=1; Secure|b=2; Secure", "X-Frame-Options": "DENY", "X-Kept": "yes"} {
		if all := strings.Join(m.all(name), "|"); all != want {
			t.Errorf("the client got %s %q, want %q", name, all, want)
		}
	}
	if got.target() != "/" || got.get("Host") != "a.test:"+o.port || len(got.all("Host")) != 1 {
		t.Errorf("the origin got %q", got.raw)
	}
}

func filterOrder(t *testing.T, _ *proxy) {
	p := startFilters(t,
		`{name: one, request: {set: ["X-Step: one"]}, answer: {set: ["X-Back: one"]}}`,
		`{name: two, request: {replace: [{header: X-Step, match: one, with: two}]}, answer: {replace: [{header: X-Back, match: one, with: two}]}}`,
		`{name: three, match: {path: [/denied]}, deny: {}}`,
		`{name: four, match: {path: [/denied, /said]}, respond: {body: "four"}}`,
		`{name: five, match: {path: [/said]}, redirect: {to: "https://never.test/"}}`,
		`{name: six, request: {set: ["X-Six: six"], remove: [X-Step]}}`)
	c, o := stage(t, p, mirror(""))
	m := c.ask("GET http://a.test:{P}/ HTTP/1.1", "Host: x", "X-Step: zero").answer()
	if m.get("X-Back") != "two" || o.seen()[0].get("X-Six") != "six" || o.seen()[0].has("X-Step") {
		t.Errorf("the client got %q, the origin %q", m.raw, o.seen()[0].raw)
	}
	c.ask("GET http://a.test:{P}/denied HTTP/1.1", "Host: x").answer().wantDenied(t, "three")
	c.ask("GET http://a.test:{P}/said HTTP/1.1", "Host: x").answer().want(t, 200, "four")
	if len(o.seen()) != 1 {
		t.Errorf("the origin got %d requests", len(o.seen()))
	}
}

func filterMatch(t *testing.T, _ *proxy) {
	users := saved(t, hashed(t, "alice", "open sesame", "bob", "swordfish"))
	p := startFilters(t, "users: "+users,
		`{match: {host: [.a.test], path: [/shut]}, request: {set: ["X-Hit: host"]}}`,
		`{match: {method: [POST, PUT]}, request: {set: ["X-Hit: method"]}}`,
		`{match: {user: [bob]}, request: {set: ["X-User-Hit: bob"]}}`,
		`{match: {port: [1]}, deny: {}}`,
		`{match: {client: [192.0.2.0/24]}, deny: {}}`)
	c, o := stage(t, p, says(ok("fine")))
	for _, turn := range []struct{ request, who, hit, user string }{
		{"GET http://b.test:{P}/shut", alice, "", ""},
		{"GET http://a.test:{P}/", alice, "", ""},
		{"GET http://a.test:{P}/shut", alice, "host", ""},
		{"GET http://www.A.test.:{P}/shut/x", bob, "host", "bob"},
		{"GET http://a.test:{P}/%73hut", alice, "host", ""},
		{"GET http://a.test:{P}//shut", alice, "host", ""},
		{"GET http://a.test:{P}/x/../shut", alice, "host", ""},
		{"GET http://a.test:{P}/shutter", alice, "", ""},
		{"PUT http://b.test:{P}/", bob, "method", "bob"},
		{"GET http://b.test:{P}/", alice, "", ""},
	} {
		c.ask(turn.request+" HTTP/1.1", "Host: a.test", turn.who, "Content-Length: 0").answer().want(t, 200, "fine")
		seen := o.seen()
		if got := seen[len(seen)-1]; got.get("X-Hit") != turn.hit || got.get("X-User-Hit") != turn.user {
			t.Errorf("%s: the origin got %q", turn.request, got.raw)
		}
	}
	if o.dials() > 3 { // one for each name
		t.Errorf("%d connections to the origin", o.dials())
	}
}

func filterDeny(t *testing.T, _ *proxy) {
	p := startFilters(t, "contact: ask us", `{name: no-archives, match: {host: [a.test]}, deny: {}}`)
	c, o := stage(t, p, says(ok("fine")))
	m := c.ask("GET http://a.test:{P}/x?q=sesame HTTP/1.1", "Host: x").answer()
	m.wantDenied(t, "no-archives")
	m.withoutAny(t, "Connection")
	if !strings.Contains(m.body, "no-archives") || !strings.Contains(m.body, "ask us") {
		t.Errorf("the text is %q", m.body)
	}
	page := c.ask("GET http://a.test:{P}/ HTTP/1.1", "Host: x", "Accept: text/html").answer()
	page.wantDenied(t, "no-archives")
	if page.get("Content-Type") != "text/html; charset=utf-8" {
		t.Errorf("a browser gets %q", page.raw)
	}
	if m := c.ask("HEAD http://a.test:{P}/ HTTP/1.1", "Host: x").answerTo("HEAD"); m.status() != 403 {
		t.Errorf("HEAD: %q", m.raw)
	}
	c.ask("GET http://b.test:{P}/ HTTP/1.1", "Host: x").answer().want(t, 200, "fine")
	all := p.lines(t, 4)
	for _, line := range all[:3] {
		wantFields(t, line, map[string]any{"decision": "deny", "rule": "no-archives", "phase": "filter", "status": 403.0, "fault": "http_request_denied"})
	}
	wantFields(t, all[3], map[string]any{"decision": "allow", "rule": nil, "status": 200.0})
	if len(o.seen()) != 1 {
		t.Errorf("the origin got %d requests", len(o.seen()))
	}
	body := dial(t, p) // a body behind a denial is never a request
	body.fill = o.places
	inner := lines("GET http://b.test:{P}/smuggled HTTP/1.1", "Host: x")
	body.send(fmt.Sprintf("POST http://a.test:{P}/ HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n", len(o.places(inner))) + inner)
	body.answer().wantDenied(t, "no-archives")
	body.try(lines("GET http://b.test:{P}/second HTTP/1.1", "Host: x"))
	if m, err := readAnswer(body.hurry().in, "GET"); err == nil {
		m.want(t, 200, "fine")
	} else if timed(err) {
		t.Error(err)
	}
	for _, r := range o.seen() {
		if r.target() == "/smuggled" {
			t.Error("a body was read as a request")
		}
	}
}

func filterTypes(t *testing.T, _ *proxy) {
	p := startFilters(t, `{name: up, deny: {request_type: [application/zip, video/*]}}`, `{name: down, deny: {answer_type: [application/zip, "video/*", Text/Calendar]}}`)
	denied := map[string]bool{
		"": false, "application/zip": true, "APPLICATION/Zip": true, "application/zip; name=x": true, "application/zip;charset": true, "video/mp4": true, "Video/x-y;a=b": true,
		"application/zipper": false, "xapplication/zip": false, "video": false, "text/plain; x=application/zip": false, "application/json": false, "image/video": false,
	}
	for kind, yes := range denied {
		field := "Content-Type: " + kind + "\r\n"
		if kind == "" {
			field = ""
		}
		c, o := stage(t, p, says(ok("fine")))
		m := c.send("POST http://{O}/ HTTP/1.1\r\nHost: x\r\n" + field + "Content-Length: 2\r\n\r\nhi").answer()
		if yes {
			m.wantDenied(t, "up")
		} else {
			m.want(t, 200, "fine")
		}
		if yes != (o.dials() == 0) {
			t.Errorf("%q up: %d dials", kind, o.dials())
		}
		c, o = stage(t, p, says("HTTP/1.1 200 OK\r\n"+field+"Content-Length: 6\r\n\r\nsecret"))
		for range 2 {
			m = c.ask("GET http://{O}/ HTTP/1.1", "Host: x").answer()
			if yes {
				m.wantDenied(t, "down")
			} else {
				m.want(t, 200, "secret")
			}
			if yes && strings.Contains(m.raw+m.body, "secret") {
				t.Errorf("%q down: got %q", kind, m.body)
			}
		}
		if len(o.seen()) != 2 {
			t.Errorf("%q down: the origin got %d requests", kind, len(o.seen()))
		}
	}
	c, _ := stage(t, p, says("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Type: video/mp4\r\nContent-Length: 6\r\n\r\nsecret"))
	c.ask("GET http://{O}/ HTTP/1.1", "Host: x").answer().wantDenied(t, "down") // either counts
	all := p.lines(t, 1)
	found := 0
	for _, line := range all {
		if line["rule"] == "down" {
			wantFields(t, line, map[string]any{"decision": "deny", "phase": "filter", "status": 403.0})
			found++
		}
	}
	if found == 0 {
		t.Error("no line tells of a denied answer")
	}
}

func filterRequestSize(t *testing.T, _ *proxy) {
	p := startFilters(t, `{name: small, match: {method: [POST]}, deny: {request_size: 1000B}}`)
	at, over := strings.Repeat("a", 1000), strings.Repeat("a", 1001)
	length := func(method, body string) string {
		return fmt.Sprintf("%s http://{O}/ HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", method, len(body), body)
	}
	chunky := func(body string) string {
		return "POST http://{O}/ HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(body, 300) + "0\r\n\r\n"
	}
	for what, request := range map[string]string{"at the size": length("POST", at), "at the size, chunked": chunky(at), "another method": length("PUT", over+over), "empty": length("POST", "")} {
		c, _ := stage(t, p, says(ok("fine")))
		c.send(request).answer()
		c.send(request).answer().want(t, 200, "fine")
		_ = what
	}
	c, o := stage(t, p, says(ok("fine")))
	c.send("POST http://{O}/ HTTP/1.1\r\nHost: x\r\nContent-Length: 1001\r\n\r\n") // the body need not come
	m := c.answer()
	m.wantOwn(t, 413, "http_request_denied")
	if m.details() != `"rule small"` {
		t.Errorf("got %q", m.raw)
	}
	if o.dials() != 0 {
		t.Errorf("%d dials", o.dials())
	}
	wantFields(t, p.of(t, "http://"+o.addr, 1)[0], map[string]any{"decision": "deny", "rule": "small", "phase": "filter", "status": 413.0})
	for _, body := range []string{over, over + over, strings.Repeat("a", 5<<20)} {
		c, o := stage(t, p, says(ok("fine")))
		go c.try(chunky(body))
		if m, err := readAnswer(c.hurry().in, "POST"); err == nil {
			m.wantOwn(t, 413, "http_request_denied")
		} else if timed(err) {
			t.Errorf("%d bytes in chunks: %v", len(body), err)
		}
		poll(t, "the origin's side is closed", func() bool { return o.open() == 0 })
		for _, got := range o.bytes() {
			if strings.HasSuffix(got, "0\r\n\r\n") || len(got) > 2000 {
				t.Errorf("%d bytes in chunks: the origin got %d bytes, up to %q", len(body), len(got), got[max(0, len(got)-20):])
			}
		}
		if line := p.of(t, "http://"+o.addr, 1)[0]; line["rule"] != "small" || line["phase"] != "filter" {
			t.Errorf("the log says %v", line)
		}
	}
}

func filterAnswerSize(t *testing.T, _ *proxy) {
	p := startFilters(t, `{name: small, deny: {answer_size: 1000B}}`)
	at, over := strings.Repeat("a", 1000), strings.Repeat("a", 1001)
	head := "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
	for what, script := range map[string]func(*originConn){
		"at the size": says(ok(at)), "chunked": says(head + chunked(at, 300) + "0\r\n\r\n"), "until the end": saysAndCloses("HTTP/1.1 200 OK\r\n\r\n" + at),
	} {
		c, _ := stage(t, p, script)
		m := c.ask("GET http://{O}/ HTTP/1.1", "Host: x").answer()
		if m.status() != 200 || m.body != at || m.err != nil {
			t.Errorf("%s: got %q with %d bytes, %v", what, m.raw, len(m.body), m.err)
		}
	}
	c, o := stage(t, p, says(ok(over)))
	for range 2 {
		m := c.ask("GET http://{O}/ HTTP/1.1", "Host: x").answer()
		m.wantDenied(t, "small")
		m.withoutAny(t, "Connection")
	}
	wantFields(t, p.of(t, "http://"+o.addr, 2)[1], map[string]any{"decision": "deny", "rule": "small", "phase": "filter", "status": 403.0})
	for _, big := range []string{over, strings.Repeat("a", 5<<20)} {
		for what, answer := range map[string]string{"chunked": head + chunked(big, 700) + "0\r\n\r\n", "until the end": "HTTP/1.1 200 OK\r\n\r\n" + big} {
			for _, version := range []string{"HTTP/1.1", "HTTP/1.0"} {
				c, o := stage(t, p, saysAndCloses(answer))
				m, err := readAnswer(c.ask("GET http://{O}/ "+version, "Host: x").hurry().in, "GET")
				switch {
				case err != nil && timed(err):
					t.Errorf("%s, %s: %v", what, version, err)
				case err == nil && m.status() == 403:
					m.wantDenied(t, "small")
				case err == nil && (m.err == nil || len(m.body) > 1000):
					t.Errorf("%s, %s, %d bytes: got %q with %d bytes, which look whole", what, version, len(big), m.raw, len(m.body))
				}
				poll(t, "the origin's side is closed", func() bool { return o.open() == 0 })
				if line := p.of(t, "http://"+o.addr, 1)[0]; line["rule"] != "small" || line["phase"] != "filter" {
					t.Errorf("%s, %s: the log says %v", what, version, line)
				}
			}
		}
	}
	for method, answer := range map[string]string{
		"HEAD": "HTTP/1.1 200 OK\r\nContent-Length: 99999\r\n\r\n", "GET": "HTTP/1.1 304 Not Modified\r\nContent-Length: 99999\r\n\r\n",
	} {
		c, _ := stage(t, p, says(answer))
		for range 2 {
			if m := c.ask(method+" http://{O}/ HTTP/1.1", "Host: x").answerTo(method); m.status() == 403 || m.get("Content-Length") != "99999" {
				t.Errorf("%s: got %q", method, m.raw)
			}
		}
	}
}

func filterAllTerms(t *testing.T, _ *proxy) {
	p := startFilters(t, `{name: both, deny: {answer_type: ["video/*"], answer_size: 1000B}}`, `{name: ways, deny: {request_type: [application/json], answer_type: [application/zip]}}`)
	big := strings.Repeat("a", 2000)
	for _, turn := range []struct {
		kind, back, body string
		rule             string
	}{
		{"text/plain", "video/mp4", "small", ""},
		{"text/plain", "text/plain", big, ""},
		{"text/plain", "video/mp4", big, "both"},
		{"application/json", "text/plain", "small", ""},
		{"text/plain", "application/zip", "small", ""},
		{"application/json", "application/zip", "small", "ways"},
	} {
		c, _ := stage(t, p, says(fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s", turn.back, len(turn.body), turn.body)))
		m := c.send("POST http://{O}/ HTTP/1.1\r\nHost: x\r\nContent-Type: " + turn.kind + "\r\nContent-Length: 2\r\n\r\n{}").answer()
		if turn.rule == "" {
			m.want(t, 200, turn.body)
		} else {
			m.wantDenied(t, turn.rule)
		}
	}
}

func filterRespond(t *testing.T, _ *proxy) {
	dir := t.TempDir()
	page := filepath.Join(dir, "page.html")
	replaceFile(t, page, "<p>moved</p>\n")
	p := startFilters(t,
		`{match: {host: [ads.test]}, respond: {body: "gone\n"}}`,
		`{match: {host: [page.test]}, respond: {status: 503, type: text/html, file: `+page+`}}`,
		`{match: {host: [none.test]}, respond: {status: 204}}`,
		`{name: empty, match: {host: [empty.test]}, respond: {}}`)
	c, o := stage(t, p, says(ok("fine")))
	for range 2 {
		m := c.ask("GET http://ads.test:{P}/banner HTTP/1.1", "Host: x").answer()
		m.want(t, 200, "gone\n")
		if m.get("Content-Type") != "text/plain; charset=utf-8" || m.get("Content-Length") != "5" || m.has("Connection") {
			t.Errorf("got %q", m.raw)
		}
		if m := c.ask("HEAD http://ads.test/ HTTP/1.1", "Host: x").answerTo("HEAD"); m.status() != 200 || m.get("Content-Length") != "5" {
			t.Errorf("HEAD: got %q", m.raw)
		}
		m = c.ask("GET http://page.test/ HTTP/1.1", "Host: x", "Accept: application/json").answer()
		m.want(t, 503, "<p>moved</p>\n")
		if !strings.HasPrefix(m.get("Content-Type"), "text/html") {
			t.Errorf("got %q", m.raw)
		}
		if m := c.ask("GET http://none.test/ HTTP/1.1", "Host: x").answer(); m.status() != 204 || m.has("Content-Length") && m.get("Content-Length") != "0" || m.has("Transfer-Encoding") {
			t.Errorf("got %q", m.raw)
		}
		c.ask("GET http://empty.test/ HTTP/1.1", "Host: x").answer().want(t, 200, "")
		c.ask("GET http://{O}/ HTTP/1.1", "Host: x").answer().want(t, 200, "fine")
	}
	for _, body := range []string{"Content-Length: 5\r\n\r\nhello", "Transfer-Encoding: chunked\r\n\r\n" + whole} {
		c := dial(t, p)
		c.fill = o.places
		c.send("POST http://ads.test/ HTTP/1.1\r\nHost: x\r\n" + body)
		m := c.answer()
		m.want(t, 200, "gone\n")
		if strings.EqualFold(m.get("Connection"), "close") {
			c.ends()
			continue
		}
		c.ask("GET http://{O}/ HTTP/1.1", "Host: x").answer().want(t, 200, "fine")
	}
	c = dial(t, p)
	c.ask("GET http://ads.test/ HTTP/1.1", "Host: x", "Connection: close").answer().want(t, 200, "gone\n")
	c.endsOrderly()
	c = dial(t, p)
	c.ask("GET http://ads.test/ HTTP/1.0").answer().want(t, 200, "gone\n")
	c.endsOrderly()
	if line := p.of(t, "http://ads.test", 1)[0]; line["status"] != 200.0 || line["rule"] != "forward[0].filters[0]" && line["rule"] != nil {
		t.Errorf("the log says %v", line)
	}
	if n := len(o.seen()); n != 2 && n > 4 {
		t.Errorf("the origin got %d requests", n)
	}
}

func filterRedirect(t *testing.T, _ *proxy) {
	list := []string{
		`{match: {host: [kept.test]}, redirect: {to: "https://new.test", keep_path: true, status: 308}}`,
		`{match: {host: [slash.test]}, redirect: {to: "https://new.test/", keep_path: true}}`,
		`{match: {host: [deep.test]}, redirect: {to: "https://new.test/base/", keep_path: true}}`,
		`{match: {host: [one.test]}, redirect: {to: "https://new.test/page?x=1"}}`,
	}
	for _, status := range []int{301, 302, 303, 307} {
		list = append(list, fmt.Sprintf(`{match: {host: [s%d.test]}, redirect: {to: "http://new.test/", status: %d}}`, status, status))
	}
	p := startFilters(t, list...)
	c, o := stage(t, p, says(ok("fine")))
	for _, turn := range []struct {
		target string
		status int
		want   string
	}{
		{"kept.test/a/b?c=d&e", 308, "https://new.test/a/b?c=d&e"},
		{"kept.test", 308, "https://new.test/"},
		{"kept.test?q", 308, "https://new.test/?q"},
		{"kept.test/%0d%0aX:1", 308, "https://new.test/%0d%0aX:1"},
		{"slash.test/a", 302, "https://new.test/a"},
		{"deep.test/a", 302, "https://new.test/base/a"},
		{"one.test/a/b?c", 302, "https://new.test/page?x=1"},
		{"s301.test/", 301, "http://new.test/"},
		{"s302.test/", 302, "http://new.test/"},
		{"s303.test/", 303, "http://new.test/"},
		{"s307.test/", 307, "http://new.test/"},
	} {
		m := c.ask("GET http://"+turn.target+" HTTP/1.1", "Host: x").answer()
		if m.status() != turn.status || m.get("Location") != turn.want || m.err != nil || m.has("Connection") {
			t.Errorf("%s: got %q, want %d %s", turn.target, m.raw, turn.status, turn.want)
		}
		if m := c.ask("HEAD http://"+turn.target+" HTTP/1.1", "Host: x").answerTo("HEAD"); m.status() != turn.status || m.get("Location") != turn.want {
			t.Errorf("HEAD %s: got %q", turn.target, m.raw)
		}
	}
	for _, path := range []string{"//evil.test/x", "/@evil.test", "/.evil.test", "/\\evil.test", "//evil.test@x/", "/%2f%2fevil.test"} {
		for _, host := range []string{"kept.test", "slash.test", "deep.test"} {
			m := dial(t, p).ask("GET http://"+host+path+" HTTP/1.1", "Host: x").answer()
			if m.status() == 400 {
				continue
			}
			if at := m.get("Location"); !strings.HasPrefix(at, "https://new.test/") {
				t.Errorf("%s%s leads to %q", host, path, at)
			}
		}
	}
	if o.dials() != 0 {
		t.Errorf("%d dials", o.dials())
	}
}

func filterHostile(t *testing.T, _ *proxy) {
	p := startFilters(t,
		`{request: {set: ["X-Team: payments"], replace: [{header: X-R, match: "(?s)(.*)", with: "[$1]"}, {header: X-Wipe, match: ".+", with: ""}]},
          answer: {replace: [{header: X-A, match: "a+", with: "b"}, {header: Location, match: ".*//([^/]*)/.*", with: "https://$1/"}]}}`)
	long := strings.Repeat("a", 5_000)
	for _, value := range []string{"", "x", `"quoted, value"`, "\x80\xff", "tab\tin", "$1 ${1} \\1", long, "ü", "%0d%0a", `\r\nX: 1`, "[]", "{}", ";", ",,,"} {
		c, o := stage(t, p, says("HTTP/1.1 200 OK\r\nX-A: "+value+"\r\nX-B: "+value+"\r\nContent-Length: 4\r\n\r\nfine"))
		m := c.ask("GET http://{O}/ HTTP/1.1", "Host: x", "X-Team: "+value, "X-R: "+value, "X-Wipe: "+value, "X-Kept: "+value, "X_Team: "+value).answer()
		m.want(t, 200, "fine")
		got := o.seen()[0]
		if team := got.all("X-Team"); len(team) != 1 || team[0] != "payments" {
			t.Errorf("%q: X-Team is %q", clip(value), team)
		}
		if got.get("X-Kept") != value || m.get("X-B") != value {
			t.Errorf("%q: became %q and %q", clip(value), clip(got.get("X-Kept")), clip(m.get("X-B")))
		}
		if r := got.get("X-R"); !strings.HasPrefix(r, "["+value+"]") {
			t.Errorf("%q: X-R is %q", clip(value), clip(r))
		}
		if got.get("X-Wipe") != "" {
			t.Errorf("%q: X-Wipe is %q", clip(value), clip(got.get("X-Wipe")))
		}
		if len(got.fields) > 9 {
			t.Errorf("%q: the origin got %q", clip(value), clip(got.raw))
		}
	}
	many := make([]string, 0, 90)
	for n := range 90 {
		many = append(many, fmt.Sprintf("X-R: %d", n))
	}
	c, o := stage(t, p, says(ok("fine")))
	c.ask(append([]string{"GET http://{O}/ HTTP/1.1", "Host: x"}, many...)...).answer().want(t, 200, "fine")
	if all := o.seen()[0].all("X-R"); len(all) != 90 || !strings.HasPrefix(all[89], "[89]") {
		t.Errorf("%d fields arrived", len(all))
	}
}

func filterNominated(t *testing.T, _ *proxy) {
	p := startFilters(t, `{request: {set: ["X-Team: payments"], remove: [Cookie, X-Gone]}, answer: {set: ["X-Frame-Options: DENY"], remove: [Set-Cookie, X-Gone]}}`)
	c, o := stage(t, p, says("HTTP/1.1 200 OK\r\nConnection: X-Frame-Options, x-gone\r\nX-Frame-Options: ALLOW\r\nX-Gone: 1\r\nContent-Length: 5\r\n\r\nhello"))
	c.send("POST http://{O}/ HTTP/1.1\r\nHost: x\r\nConnection: X-Team, Cookie\r\nX-Team: other\r\nCookie: a=1\r\nContent-Length: 5\r\n\r\nhello")
	m := c.answer()
	m.want(t, 200, "hello")
	got := o.seen()[0]
	if all := got.all("X-Team"); len(all) != 1 || all[0] != "payments" || got.has("Cookie") {
		t.Errorf("the origin got %q", got.raw)
	}
	if all := m.all("X-Frame-Options"); len(all) != 1 || all[0] != "DENY" || m.has("X-Gone") {
		t.Errorf("the client got %q", m.raw)
	}
}

func filterEarlyAnswer(t *testing.T, _ *proxy) {
	p := startFilters(t, `{name: shut, match: {path: [/denied]}, deny: {}}`, `{match: {path: [/said]}, respond: {body: said}}`, `{match: {path: [/old]}, redirect: {to: "https://new.test/"}}`, `{deny: {request_size: 1MiB}}`)
	o := newOrigin(t, says(ok("fine")))
	inner := lines("GET http://{O}/smuggled HTTP/1.1", "Host: x")
	body := strings.Repeat(o.places(inner), 8<<20/len(o.places(inner)))
	for path, status := range map[string]int{"/denied": 403, "/said": 200, "/old": 302, "/": 413} {
		for _, first := range []bool{true, false} {
			c := dial(t, p)
			request := fmt.Sprintf("POST http://%s%s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n", o.addr, path, len(body)) + body
			if first {
				go c.try(request)
			} else {
				c.try(request)
			}
			if m := c.answer(); m.status() != status || m.err != nil {
				t.Errorf("%s: got %q, %v", path, m.raw, m.err)
			}
		}
	}
	if len(o.seen()) != 0 {
		t.Errorf("the origin got %q", clip(o.seen()[0].raw))
	}
}

func filterPipelined(t *testing.T, _ *proxy) {
	p := startFilters(t, `{name: shut, match: {path: [/denied]}, deny: {}}`, `{match: {path: [/said]}, respond: {body: said}}`, `{match: {path: [/old]}, redirect: {to: "https://new.test/"}}`,
		`{match: {path: [/edited]}, answer: {set: ["X-Edited: yes"]}}`, `{name: movies, match: {path: [/movie]}, deny: {answer_type: ["video/*"]}}`)
	c, o := stage(t, p, serve(func(r *message) string {
		return fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Type: video/mp4\r\nContent-Length: %d\r\n\r\n%s", len(r.target()+r.body), r.target()+r.body)
	}))
	paths := []string{"/x", "/denied", "/said", "/edited", "/movie", "/old", "/y", "/movie", "/edited", "/said", "/x"}
	var all strings.Builder
	for n, path := range paths {
		body := strings.Repeat("b", n*50)
		fmt.Fprintf(&all, "POST http://{O}%s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", path, len(body), body)
	}
	c.send(all.String())
	for n, path := range paths {
		m := c.answer()
		switch body := strings.Repeat("b", n*50); path {
		case "/denied":
			m.wantDenied(t, "shut")
		case "/movie":
			m.wantDenied(t, "movies")
		case "/said":
			m.want(t, 200, "said")
		case "/old":
			if m.status() != 302 {
				t.Fatalf("got %q", m.raw)
			}
		default:
			m.want(t, 200, path+body)
			if m.has("X-Edited") != (path == "/edited") {
				t.Errorf("%s: got %q", path, m.raw)
			}
		}
		if strings.EqualFold(m.get("Connection"), "close") {
			t.Fatalf("%s: the connection is closed: %q", path, m.raw)
		}
	}
	if n := len(o.seen()); n != 7 {
		t.Errorf("the origin got %d requests", n)
	}
}

func filterExpect(t *testing.T, _ *proxy) {
	p := startFilters(t, `{match: {path: [/denied]}, deny: {}}`, `{match: {path: [/said]}, respond: {body: said}}`, `{deny: {request_size: 1000B}}`, `{answer: {set: ["X-Edited: yes"]}}`)
	_, o := stage(t, p, func(o *originConn) {
		for m := o.head(); m != nil; m = o.head() {
			o.send("HTTP/1.1 100 Continue\r\n\r\n")
			m.readBody(o.in, false)
			o.send(ok(m.body))
		}
	})
	ask := func(path, length string) *client {
		c := dial(t, p)
		c.fill = o.places
		return c.send("POST http://{O}" + path + " HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: " + length + "\r\n\r\n")
	}
	ask("/denied", "5").answer().wantOwn(t, 403, "http_request_denied")
	ask("/said", "5").answer().want(t, 200, "said")
	ask("/", "1001").answer().wantOwn(t, 413, "http_request_denied")
	if o.dials() != 0 {
		t.Errorf("%d dials", o.dials())
	}
	c := ask("/", "5")
	if m := c.answer(); m.status() != 100 || m.has("X-Edited") {
		t.Fatalf("got %q", m.raw)
	}
	m := c.send("hello").answer()
	m.want(t, 200, "hello")
	if m.get("X-Edited") != "yes" {
		t.Errorf("got %q", m.raw)
	}
}

func filterConnect(t *testing.T, _ *proxy) {
	p := startFilters(t, `{request: {set: ["X-A: 1"]}, answer: {set: ["X-A: 1"]}}`, `{name: all, deny: {}}`)
	c, o := stage(t, p, echo)
	c.ask("CONNECT {O} HTTP/1.1", "Host: {O}")
	m := c.answerTo("CONNECT")
	if m.status() != 200 || m.has("X-A") {
		t.Fatalf("got %q", m.raw)
	}
	text := lines("GET http://{O}/ HTTP/1.1", "Host: {O}")
	c.send(text).read(o.places(text))
	c.closeWrite()
	c.endsOrderly()
	d := dial(t, p)
	d.fill = o.places
	d.ask("GET http://{O}/ HTTP/1.1", "Host: x").answer().wantDenied(t, "all")
	d.ask("OPTIONS * HTTP/1.1", "Host: x").answer()
}

func filterInspected(t *testing.T, _ *proxy) {
	p := startGlass(t, "filters:",
		`  - {name: edits, request: {set: ["X-Team: payments"], remove: [Cookie]}, answer: {set: ["X-Edited: yes"], replace: [{header: Location, match: "^http:", with: "https:"}]}}`,
		`  - {name: secret, match: {host: [a.test], path: [/secret]}, deny: {}}`,
		`  - {match: {path: [/said]}, respond: {body: said}}`,
		`  - {match: {path: [/old]}, redirect: {to: "https://new.test", keep_path: true}}`,
		`  - {name: movies, deny: {answer_type: ["video/*"]}}`,
		`  - {name: small, deny: {request_size: 1000B, answer_size: 1000B}}`,
		`  - {name: large, deny: {answer_size: 2000B}}`)
	c, o := inside(t, p, serve(func(r *message) string {
		switch r.target() {
		case "/video":
			return "HTTP/1.1 200 OK\r\nContent-Type: video/mp4\r\nContent-Length: 4\r\n\r\nfilm"
		case "/large":
			return "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(strings.Repeat("a", 3000), 500) + "0\r\n\r\n"
		}
		return "HTTP/1.1 200 OK\r\nLocation: http://a.test/\r\nContent-Length: 4\r\n\r\nfine"
	}))
	m := c.gets("/", "Cookie: a=1")
	m.want(t, 200, "fine")
	if m.get("X-Edited") != "yes" || m.get("Location") != "https://a.test/" {
		t.Errorf("got %q", m.raw)
	}
	if got := o.seen()[0]; got.get("X-Team") != "payments" || got.has("Cookie") {
		t.Errorf("the origin got %q", got.raw)
	}
	c.gets("/secret").wantDenied(t, "secret")
	c.gets("/said").want(t, 200, "said")
	if m := c.gets("/old/x?y"); m.status() != 302 || m.get("Location") != "https://new.test/old/x?y" {
		t.Errorf("got %q", m.raw)
	}
	c.gets("/video").wantDenied(t, "movies")
	if len(o.seen()) != 2 {
		t.Errorf("the origin got %d requests", len(o.seen()))
	}
	wantFields(t, p.of(t, "https://a.test:"+o.port+"/secret", 1)[0], map[string]any{"decision": "deny", "rule": "secret", "phase": "filter", "inspect": "opened", "status": 403.0})
	m, err := readAnswer(c.ask("GET /large HTTP/1.1", "Host: a.test:{P}").hurry().in, "GET")
	if err == nil && m.status() != 403 && m.err == nil {
		t.Errorf("a large answer looks whole: %q, %d bytes", m.raw, len(m.body))
	}
}

func filterWebSocket(t *testing.T, _ *proxy) {
	p := startFilters(t, `{name: edits, request: {set: ["X-Team: payments"], remove: [Cookie]}, answer: {set: ["X-Edited: yes"], remove: [Server]}}`, `{deny: {request_size: 10B, answer_size: 10B}}`, `{name: shut, match: {path: [/shut]}, deny: {}}`)
	c, o := stage(t, p, func(o *originConn) {
		o.head()
		o.send(strings.Replace(switching, "\r\n\r\n", "\r\nServer: x\r\n\r\n", 1) + "hello")
		echo(o)
	})
	upgrade := "HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nCookie: a=1\r\nSec-WebSocket-Key: x\r\nSec-WebSocket-Version: 13\r\n\r\n"
	c.send("GET http://{O}/shut "+upgrade).answer().wantDenied(t, "shut")
	c = dial(t, p)
	c.fill = o.places
	m := c.send("GET http://{O}/chat " + upgrade + "first").answer()
	if m.status() != 101 || !strings.EqualFold(m.get("Upgrade"), "websocket") || !strings.EqualFold(m.get("Connection"), "upgrade") || m.get("X-Edited") != "yes" || m.has("Server") {
		t.Fatalf("got %q", m.raw)
	}
	c.read("hellofirst")
	big := string(stuff(4, 1<<20))
	go c.try(big)
	c.read(big)
	if got := o.seen()[0]; got.get("X-Team") != "payments" || got.has("Cookie") || !strings.EqualFold(got.get("Upgrade"), "websocket") || got.get("Sec-WebSocket-Key") != "x" {
		t.Errorf("the origin got %q", got.raw)
	}
	c.closeWrite()
	c.endsOrderly()
}

func filterInterim(t *testing.T, _ *proxy) {
	p := startFilters(t, `{answer: {set: ["X-Edited: yes"], remove: [Link]}}`)
	c, _ := stage(t, p, serve(func(*message) string {
		return "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </y>\r\n\r\n" + strings.Replace(ok("fine"), "\r\n", "\r\nLink: </x>\r\n", 1)
	}))
	c.ask("GET http://{O}/ HTTP/1.1", "Host: x")
	for _, link := range []string{"</x>", "</y>"} {
		if m := c.answer(); m.status() != 103 || m.get("Link") != link || m.has("X-Edited") {
			t.Errorf("got %q", m.raw)
		}
	}
	m := c.answer()
	m.want(t, 200, "fine")
	if m.has("Link") || m.get("X-Edited") != "yes" {
		t.Errorf("got %q", m.raw)
	}
}

func filterReload(t *testing.T, _ *proxy) {
	page := filepath.Join(t.TempDir(), "page")
	replaceFile(t, page, "one")
	text := func(more ...string) string {
		return conf(append([]string{"filters:", "  - {match: {path: [/page]}, respond: {file: " + page + "}}"}, more...)...)
	}
	p := launch{conf: text()}.start(t)
	c, _ := stage(t, p, says(ok("fine")))
	get := func(path string) *message { return c.ask("GET http://{O}"+path+" HTTP/1.1", "Host: x").answer() }
	get("/page").want(t, 200, "one")
	get("/x").want(t, 200, "fine")
	p.reload(t, text("  - {name: x, match: {path: [/x]}, deny: {}}"))
	get("/x").wantDenied(t, "x")
	get("/y").want(t, 200, "fine")
	replaceFile(t, page, "two")
	poll(t, "the file is read again", func() bool { return get("/page").body == "two" })
	p.reload(t, text())
	get("/x").want(t, 200, "fine")
	if err := os.Remove(page); err != nil {
		t.Fatal(err)
	}
	get("/page").want(t, 200, "two")
	p.reload(t, conf())
	get("/page").want(t, 200, "fine")
}

func filterRulesFirst(t *testing.T, _ *proxy) {
	users := saved(t, hashed(t, "alice", "open sesame"))
	p := startFilters(t, "users: "+users, "rules: [{name: rule, deny: {host: [a.test]}}]", `{name: all, respond: {body: filter}}`)
	c, o := stage(t, p, says(ok("fine")))
	c.ask("GET http://a.test:{P}/ HTTP/1.1", "Host: x").answer().wantChallenge(t)
	c.ask("GET http://b.test:{P}/ HTTP/1.1", "Host: x").answer().wantChallenge(t)
	c.ask("GET http://a.test:{P}/ HTTP/1.1", "Host: x", alice).answer().wantDenied(t, "rule")
	c.ask("GET http://b.test:{P}/ HTTP/1.1", "Host: x", alice).answer().want(t, 200, "filter")
	c.ask("GET http://b.test:99999/ HTTP/1.1", "Host: x", alice).answer().wantOwn(t, 400)
	if o.dials() != 0 {
		t.Errorf("%d dials", o.dials())
	}
}

func filterMisspelt(t *testing.T, _ *proxy) {
	for filter, words := range map[string][]string{
		`{}`:                                 {"filters[0]"},
		`{match: {}}`:                        {"filters[0]"},
		`{request: {}}`:                      {"request"},
		`{request: {set: ["X-Team"]}}`:       {"X-Team", "Name: value"},
		`{request: {set: ["X Team: x"]}}`:    {"X Team"},
		`{request: {set: ["X-Team: a\nb"]}}`: {"X-Team"},
		`{request: {set: ["X-Team: a", "x-team: b"]}}`:                               {"x-team"},
		`{request: {replace: [{header: X-A, match: "(", with: x}]}}`:                 {"(", "match"},
		`{request: {remove: [Host]}}`:                                                {"Host"},
		`{request: {set: ["Transfer-Encoding: chunked"]}}`:                           {"Transfer-Encoding"},
		`{request: {set: ["Content-length: 5"]}}`:                                    {"ontent-"},
		`{request: {set: ["Proxy-Authorization: Basic x"]}}`:                         {"Proxy-Authorization"},
		`{request: {remove: [Connection]}}`:                                          {"Connection"},
		`{request: {remove: [TE, Trailer]}}`:                                         {"TE"},
		`{request: {set: ["Expect: 100-continue"]}}`:                                 {"Expect"},
		`{request: {set: ["Via: 1.1 x"]}}`:                                           {"Via"},
		`{request: {set: ["Max-Forwards: 1"]}}`:                                      {"Max-Forwards"},
		`{answer: {set: ["Upgrade: h2c"]}}`:                                          {"Upgrade"},
		`{answer: {remove: [Keep-Alive]}}`:                                           {"Keep-Alive"},
		`{answer: {set: ["Proxy-Status: x"]}}`:                                       {"Proxy-Status"},
		`{request: {set: ["X-Forwarded-For: 1.2.3.4"]}}`:                             {"X-Forwarded-For", "strict"},
		`{deny: {request_type: [zip]}}`:                                              {"zip"},
		`{deny: {request_size: 10}}`:                                                 {"10"},
		`{deny: {}, respond: {}}`:                                                    {"deny", "respond"},
		`{respond: {}, redirect: {to: "https://a.test"}}`:                            {"respond", "redirect"},
		`{redirect: {to: "new.test"}}`:                                               {"new.test", "https://"},
		`{redirect: {to: "ftp://new.test"}}`:                                         {"ftp://new.test"},
		`{redirect: {to: "https://a.test", status: 200}}`:                            {"200", "302"},
		`{respond: {status: 99}}`:                                                    {"99"},
		`{respond: {status: 204, body: x}}`:                                          {"204"},
		`{respond: {body: x, file: y}}`:                                              {"body", "file"},
		`{match: {addr: [10.0.0.0/8]}, deny: {}}`:                                    {"addr"},
		`{match: {hots: [a.test]}, deny: {}}`:                                        {"hots", "host"},
		`{match: {user: [ann]}, deny: {}}`:                                           {"users"},
		`{name: guard, deny: {}}`:                                                    {"guard"},
		`{denny: {}}`:                                                                {"denny", "deny"},
		`{answer: {set: ["X-A: ` + strings.Repeat("é", 3) + `` + "\\u0000" + `"]}}`:  {"X-A"},
		`{request: {replace: [{header: Content-Length, match: ".*", with: "0"}]}}`:   {"Content-Length"},
		`{answer: {replace: [{header: Connection, match: ".*", with: "X-Secret"}]}}`: {"Connection"},
		`{answer: {replace: [{header: "", match: ".*", with: "X-Secret"}]}}`:         {"header"},
		`{deny: {answer_size: -1}}`:                                                  {"-1"},
		`{match: {path: [x]}, respond: {status: 200, type: "text/html\r\nX: 1"}}`:    {"path", "type"},
		`{respond: {status: 200, type: "text/html\r\nX: 1"}}`:                        {"type"},
		`{redirect: {to: "https://a.test/\r\nX: 1"}}`:                                {"to"},
		`{respond: {file: /nonexistent/page.html}}`:                                  {"/nonexistent/page.html"},
	} {
		file := saved(t, conf("filters:", "  - "+filter))
		code, _, stderr := exits(t, nil, "check", "-c", file)
		if code != 1 && (code != 2 || !strings.Contains(filter, "nonexistent")) {
			t.Errorf("check of %s: exit code %d, it says %q", filter, code, stderr)
		}
		for _, word := range words {
			if !strings.Contains(stderr, word) {
				t.Errorf("check of %s says %q, not %q", filter, stderr, word)
			}
		}
		if !strings.Contains(filter, "nonexistent") && !strings.Contains(stderr, file+":7:") {
			t.Errorf("check of %s says %q, not the line", filter, stderr)
		}
	}
	twice := saved(t, conf("rules: [{name: x, deny: {host: [a.test]}}]", "filters: [{name: x, deny: {}}]"))
	if code, _, stderr := exits(t, nil, "check", "-c", twice); code != 1 || !strings.Contains(stderr, "x") {
		t.Errorf("a name twice: exit code %d, %q", code, stderr)
	}
	never := saved(t, conf("filters: [{deny: {}}, {answer: {set: [\"X-A: 1\"]}}]"))
	if code, _, stderr := exits(t, nil, "check", "-c", never); code != 1 || !strings.Contains(stderr, "never reached") {
		t.Errorf("a filter behind one that ends everything: exit code %d, %q", code, stderr)
	}
	fine := saved(t, conf("anonymity: transparent", "filters: [{request: {set: [\"X-Real-Team: a\"], remove: [Cookie, Referer, Authorization]}, answer: {set: [\"Strict-Transport-Security: max-age=1\"], remove: [Server, Set-Cookie]}}]"))
	if code, _, stderr := exits(t, nil, "check", "-c", fine); code != 0 {
		t.Errorf("exit code %d, %q", code, stderr)
	}
}

func filterMetrics(t *testing.T, _ *proxy) {
	p := launch{conf: "admin: {listen: 127.0.0.1:0}\n" + filtersText(t, `{name: shut, match: {path: [/shut]}, deny: {}}`, `{match: {path: [/edit]}, answer: {set: ["X-A: 1"]}}`)}.start(t)
	c, _ := stage(t, p, says(ok("fine")))
	for _, path := range []string{"/shut", "/edit", "/edit", "/x", "/y", "/z"} {
		c.ask("GET http://{O}"+path+" HTTP/1.1", "Host: x").answer()
	}
	lanes := func(l lane) float64 {
		return p.metric(t, fmt.Sprintf(`viaduct_requests_by_lane_total{lane="%s",listener="127.0.0.1:0"}`, l))
	}
	poll(t, "requests by lane", func() bool { return lanes(fast) == 3 && lanes(library) == 3 })
	if n := p.metric(t, `viaduct_decisions_total{decision="deny",listener="127.0.0.1:0",phase="filter",rule="shut"}`); n != 1 {
		t.Errorf("%v denials by the filter", n)
	}
}
