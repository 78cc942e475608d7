package accesslog_test

import (
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"

	"viaduct/accesslog"
)

// squidLine is a line of squid's, taken apart. What was a dash is empty.
type squidLine struct {
	end                                        time.Time
	took                                       time.Duration
	client, result, status                     string
	sent                                       int64
	method, target, user, way, peer, mediaType string
}

// readSquid is strict: one blank between two fields, widths as squid pads them.
func readSquid(t testing.TB, line string) (l squidLine) {
	t.Helper()
	fields := strings.Split(strings.TrimLeft(oneLine(t, line), " "), " ")
	for len(fields) > 2 && fields[1] == "" { // the padding of the second
		fields = append(fields[:1], fields[2:]...)
	}
	if len(fields) != 10 {
		t.Fatalf("%d fields in %q", len(fields), line)
	}
	seconds, millis, _ := strings.Cut(fields[0], ".")
	l.end = time.Unix(number(t, seconds), number(t, millis)*1e6)
	l.took = time.Duration(number(t, fields[1])) * time.Millisecond
	var ok1, ok2 bool
	l.client = undash(fields[2])
	l.result, l.status, ok1 = strings.Cut(fields[3], "/")
	l.sent = number(t, fields[4])
	l.method, l.target, l.user = undash(fields[5]), undash(fields[6]), undash(fields[7])
	l.way, l.peer, ok2 = strings.Cut(fields[8], "/")
	l.peer, l.mediaType = undash(l.peer), undash(fields[9])
	if !ok1 || !ok2 || len(millis) != 3 || len(l.status) < 3 || strings.ContainsAny(line, `"\`) {
		t.Fatalf("not of squid's form: %q", line)
	}
	if strings.Index(line, ".") < 9 || len(line[strings.Index(line, ".")+5:strings.Index(line, fields[2]+" ")-1]) < 6 {
		t.Fatalf("not padded as squid does: %q", line)
	}
	return l
}

func number(t testing.TB, s string) int64 {
	t.Helper()
	n, err := strconv.ParseUint(s, 10, 63)
	if err != nil {
		t.Fatal(err)
	}
	return int64(n)
}

func undash(s string) string {
	if s == "-" {
		return ""
	}
	return s
}

func TestSquidLine(t *testing.T) {
	const want = "1795435507.006  62000 192.0.2.7 TCP_MISS/502 1099511627776 GET http://example.com/a/b joe HIER_DIRECT/2001:db8::1 -\n"
	e := entry()
	if got := lineOf(t, e, accesslog.Squid); got != want {
		t.Errorf("got  %swant %s", got, want)
	}
	if got := readSquid(t, lineOf(t, e, accesslog.Squid)).end; !got.Equal(e.Time.Add(e.Total).Truncate(time.Millisecond)) {
		t.Errorf("ended at %v", got)
	}
	const empty = "        0.000      0 - NONE_NONE/000 0 - - - HIER_NONE/- -\n"
	if got := lineOf(t, new(accesslog.Entry), accesslog.Squid); got != empty {
		t.Errorf("got  %swant %s", got, empty)
	}
}

func TestSquidResults(t *testing.T) {
	addr := netip.MustParseAddrPort("192.0.2.1:80")
	for _, c := range []struct {
		name, method, fault string
		status, tries       int
		ended               accesslog.End
		want                string
	}{
		{"fetched", "GET", "", 200, 1, accesslog.None, "TCP_MISS"},
		{"the origin says no", "GET", "", 403, 1, accesslog.None, "TCP_MISS"},
		{"the origin asks who", "GET", "", 401, 1, accesslog.None, "TCP_MISS"},
		{"not reached", "GET", "connection_refused", 502, 1, accesslog.None, "TCP_MISS"},
		{"no such name", "GET", "dns_error", 502, 0, accesslog.None, "TCP_MISS"},
		{"denied", "GET", "http_request_denied", 403, 0, accesslog.None, "TCP_DENIED"},
		{"denied CONNECT", "CONNECT", "http_request_denied", 403, 0, accesslog.None, "TCP_DENIED"},
		{"denied by address", "CONNECT", "destination_ip_prohibited", 403, 1, accesslog.None, "TCP_DENIED"},
		{"who", "GET", "", 407, 0, accesslog.None, "TCP_DENIED"},
		{"who, for a tunnel", "CONNECT", "", 407, 0, accesslog.None, "TCP_DENIED"},
		{"wrong password too often", "GET", "", 429, 0, accesslog.None, "TCP_DENIED"},
		{"limited", "GET", "http_request_denied", 429, 0, accesslog.None, "TCP_DENIED"},
		{"the origin limits", "GET", "", 429, 1, accesslog.None, "TCP_MISS"},
		{"client left in the refusal", "GET", "http_request_denied", 403, 0, accesslog.Client, "TCP_DENIED_ABORTED"},
		{"tunnel that was denied by its ClientHello", "CONNECT", "http_request_denied", 200, 1, accesslog.Proxy, "TCP_DENIED"},
		{"nonsense", "GET", "http_request_error", 400, 0, accesslog.None, "NONE_NONE"},
		{"nonsensical CONNECT", "CONNECT", "http_request_error", 400, 0, accesslog.None, "NONE_NONE"},
		{"slow head", "", "http_request_error", 408, 0, accesslog.None, "NONE_NONE_TIMEOUT"},
		{"slow body", "POST", "http_request_error", 408, 1, accesslog.None, "TCP_MISS_TIMEOUT"},
		{"our own page", "GET", "", 200, 0, accesslog.None, "NONE_NONE"},
		{"client left in the answer", "GET", "connection_terminated", 200, 1, accesslog.Client, "TCP_MISS_ABORTED"},
		{"client left before it", "GET", "connection_terminated", 0, 0, accesslog.Client, "TCP_MISS_ABORTED"},
		{"server left in the answer", "GET", "http_response_incomplete", 200, 1, accesslog.Server, "TCP_MISS_ABORTED"},
		{"server left before it", "GET", "connection_terminated", 502, 1, accesslog.Server, "TCP_MISS"},
		{"answer too slow", "GET", "http_response_timeout", 504, 1, accesslog.Proxy, "TCP_MISS_TIMEOUT"},
		{"answer stuck", "GET", "connection_read_timeout", 200, 1, accesslog.Proxy, "TCP_MISS_TIMEOUT"},
		{"name too slow", "CONNECT", "dns_timeout", 504, 1, accesslog.None, "TCP_TUNNEL_TIMEOUT"},
		{"tunnel", "CONNECT", "", 200, 1, accesslog.Client, "TCP_TUNNEL"},
		{"tunnel that the server ended", "CONNECT", "", 200, 1, accesslog.Server, "TCP_TUNNEL"},
		{"tunnel that was reset", "CONNECT", "connection_terminated", 200, 1, accesslog.Client, "TCP_TUNNEL_ABORTED"},
		{"tunnel that was drained", "CONNECT", "connection_terminated", 200, 1, accesslog.Proxy, "TCP_TUNNEL_ABORTED"},
		{"idle tunnel", "CONNECT", "connection_read_timeout", 200, 1, accesslog.Proxy, "TCP_TUNNEL_TIMEOUT"},
		{"tunnel that did not come about", "CONNECT", "connection_refused", 502, 1, accesslog.None, "TCP_TUNNEL"},
		{"client left before its tunnel", "CONNECT", "connection_terminated", 0, 1, accesslog.Client, "TCP_TUNNEL_ABORTED"},
		{"upgrade", "GET", "", 101, 1, accesslog.Client, "TCP_TUNNEL"},
		{"upgrade that was refused", "GET", "", 426, 1, accesslog.None, "TCP_MISS"},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := entry()
			e.Method, e.Fault, e.Status, e.Tries, e.Ended = []byte(c.method), c.fault, c.status, c.tries, c.ended
			e.Endpoint = netip.AddrPort{}
			l := readSquid(t, lineOf(t, e, accesslog.Squid))
			if l.result != c.want || number(t, l.status) != int64(c.status) {
				t.Errorf("%s/%s, want %s", l.result, l.status, c.want)
			}
			if l.way != "HIER_NONE" || l.peer != "" {
				t.Errorf("by %s to %s", l.way, l.peer)
			}
			e.Endpoint = addr
			if l := readSquid(t, lineOf(t, e, accesslog.Squid)); l.way != "HIER_DIRECT" || l.peer != "192.0.2.1" {
				t.Errorf("by %s to %s", l.way, l.peer)
			}
		})
	}
}

func TestSquidWay(t *testing.T) {
	for parent, want := range map[string]string{
		"":                     "HIER_DIRECT/2001:db8::1",
		"http://10.0.0.1:3128": "FIRSTUP_PARENT/10.0.0.1",
		"https://proxy.example:443 -> socks5://b:1": "FIRSTUP_PARENT/proxy.example",
		"socks5://[2001:db8::7]:1080":               "FIRSTUP_PARENT/2001:db8::7",
		"http://[2001:db8::7]":                      "FIRSTUP_PARENT/2001:db8::7",
		"http://proxy.example":                      "FIRSTUP_PARENT/proxy.example",
		"office":                                    "FIRSTUP_PARENT/office",
		"my office:1":                               "FIRSTUP_PARENT/my%20office:1",
		"http://":                                   "FIRSTUP_PARENT/-",
		"http://:1":                                 "FIRSTUP_PARENT/-",
		"-":                                         "FIRSTUP_PARENT/%2D",
		"a\n1 2 b":                                  "FIRSTUP_PARENT/a%0A1%202%20b",
		strings.Repeat("x", 601):                    "FIRSTUP_PARENT/" + strings.Repeat("x", 600),
	} {
		e := entry()
		e.Pool, e.Parent = "parents", parent
		line := lineOf(t, e, accesslog.Squid)
		readSquid(t, line)
		if fields := strings.Fields(line); fields[8] != want {
			t.Errorf("%s: %s, want %s", parent, fields[8], want)
		}
	}
}

// The combined format has no place for the way out.
func TestCombinedLineTellsNoWay(t *testing.T) {
	e := entry()
	want := lineOf(t, e, accesslog.Combined)
	e.Pool, e.Parent = "parents", "http://10.0.0.1:3128"
	if got := lineOf(t, e, accesslog.Combined); got != want {
		t.Errorf("got  %swant %s", got, want)
	}
}

// What the policy denies is denied, with whatever fault and however late.
func TestSquidDenials(t *testing.T) {
	for decision, want := range map[string]string{"": "TCP_MISS", "allow": "TCP_MISS", "observe": "TCP_MISS", "deny": "TCP_DENIED"} {
		e := entry()
		e.Fault, e.Status, e.Tries, e.Ended, e.Decision = "proxy_loop_detected", 502, 1, accesslog.None, decision
		if l := readSquid(t, lineOf(t, e, accesslog.Squid)); l.result != want {
			t.Errorf("%s: %s, want %s", decision, l.result, want)
		}
	}
}

// Nobody passes for another, nor for none.
func TestSquidUsersAreDistinct(t *testing.T) {
	seen := map[string]string{}
	for _, user := range []string{"", "-", "%2D", "a b", "a%20b", "a%2520b", "a\"b", "a\\b", "a\nb", "\u00e9", "\xe9"} {
		e := entry()
		e.User = user
		got := strings.Fields(lineOf(t, e, accesslog.Squid))[7]
		if other, taken := seen[got]; taken {
			t.Errorf("%q and %q are both %s", user, other, got)
		}
		seen[got] = user
	}
}
