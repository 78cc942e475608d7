package test

import (
	"strings"
	"testing"
)

var targetRows = []row{
	{"9112-3.2.2/absolute-form", "T1", "The origin gets origin-form with path and query byte for byte, and the target's authority as Host, whatever the client's Host said.", "", absoluteForm},
	{"9112-3.2.2/no-path", "T1", "A target without a path is asked for as `/`, its query kept.", "", noPath},
	{"9110-4.2.3/scheme-and-host-case", "T1", "`HTTP://LOCALHOST` means the same as `http://localhost`.", "", hostCase},
	{"9112-3.2/missing-host", "T2", "HTTP/1.1 without Host: 400, closed.", "", missingHost},
	{"9112-3.2/http10-without-host", "T2", "HTTP/1.0 without Host is served; the origin gets an HTTP/1.1 request with Host from the target.", "", http10WithoutHost},
	{"9112-3.2/two-hosts", "T3", "Two Host lines, alike or not: 400, closed.", "", twoHosts},
	{"9112-3.2/invalid-host", "T3", "A Host that is no host (space, comma, userinfo, path): 400, closed, although the target wins.", "", invalidHost},
	{"9112-3.2.1/origin-form", "T4", "A request in origin-form to the proxy: 400, nothing dialled.", "", originForm},
	{"9112-3.2.4/asterisk-form", "T4", "`OPTIONS *` is for the proxy itself and answered by it; `GET *` is refused with 400.", "", asteriskForm},
	{"9110-4.2.2/https-absolute", "T5", "An https target in absolute-form: 400, nothing dialled.", "", https},
	{"9110-15.6.2/other-schemes", "T6", "ftp, gopher and unknown schemes: 501.", "", otherSchemes},
	{"9110-4.2.4/userinfo", "T7", "Userinfo in the target, empty too: 400; it stands neither in the answer nor in the log.", "", userinfo},
	{"9112-3.2.2/fragment", "T8", "A fragment in the target: 400.", "", fragment},
	{"9110-4.2.1/invalid-authority", "T44", "No host, no number or no port from 1 to 65535, an open bracket, a zone: 400, nothing dialled.", "", invalidAuthority},
}

func absoluteForm(t *testing.T, p *proxy) {
	c, o := stage(t, p, says(ok("fine")))
	c.ask("GET http://{O}/a%2Fb/../c?x=;&y=%zz HTTP/1.1", "Host: other")
	c.answer().want(t, 200, "fine")
	want := o.places(lines("GET /a%2Fb/../c?x=;&y=%zz HTTP/1.1", "Host: {O}"))
	if got := o.seen()[0].raw; got != want {
		t.Errorf("the origin got %q, want %q", got, want)
	}
}

func noPath(t *testing.T, p *proxy) {
	for target, want := range map[string]string{"http://{O}": "/", "http://{O}?a=b": "/?a=b", "http://{O}/?": "/?", "http://{O}//x//": "//x//"} {
		c, o := stage(t, p, says(ok("fine")))
		c.ask("GET "+target+" HTTP/1.1", "Host: {O}")
		c.answer().want(t, 200, "fine")
		if got := o.seen()[0].target(); got != want {
			t.Errorf("%s: the origin was asked for %q, want %q", target, got, want)
		}
	}
}

func hostCase(t *testing.T, p *proxy) {
	c, o := stage(t, p, says(ok("fine")))
	c.ask("GET HTTP://LOCALHOST:{P}/ HTTP/1.1", "Host: LOCALHOST:{P}")
	c.answer().want(t, 200, "fine")
	if got := o.seen()[0].get("Host"); !strings.EqualFold(got, "localhost:"+o.port) {
		t.Errorf("Host %q", got)
	}
}

// refuses sends one head and wants an answer of our own and, if closed, the
// end of the connection; the origin must not even be dialled.
func refuses(t *testing.T, p *proxy, status int, closed bool, l ...string) *message {
	t.Helper()
	c, o := stage(t, p, says(ok("reached")))
	c.ask(l...)
	m := c.answerTo(strings.SplitN(l[0], " ", 2)[0])
	if m.status() != status {
		t.Errorf("%q: got %q, want %d", l, m.line, status)
		return m
	}
	m.wantOwn(t, status, "http_request_error")
	if closed {
		c.ends()
	}
	if n := o.dials(); n != 0 {
		t.Errorf("%q: the origin was dialled %d times", l, n)
	}
	return m
}

func missingHost(t *testing.T, p *proxy) {
	refuses(t, p, 400, true, "GET http://{O}/ HTTP/1.1")
	refuses(t, p, 400, true, "GET http://{O}/ HTTP/1.1", "X-Host: {O}")
}

func http10WithoutHost(t *testing.T, p *proxy) {
	c, o := stage(t, p, says(ok("fine")))
	c.ask("GET http://{O}/ HTTP/1.0")
	c.answer().want(t, 200, "fine")
	if got, want := o.seen()[0].raw, o.places(lines("GET / HTTP/1.1", "Host: {O}")); got != want {
		t.Errorf("the origin got %q, want %q", got, want)
	}
}

func twoHosts(t *testing.T, p *proxy) {
	refuses(t, p, 400, true, "GET http://{O}/ HTTP/1.1", "Host: {O}", "Host: {O}")
	refuses(t, p, 400, true, "GET http://{O}/ HTTP/1.1", "Host: {O}", "X: 1", "hOST: other")
	refuses(t, p, 400, true, "GET http://{O}/ HTTP/1.0", "Host: {O}", "Host: other")
}

func invalidHost(t *testing.T, p *proxy) {
	for _, host := range []string{"a b", "a,b", "a, {O}", "u@{O}", "{O}/x", "http://{O}", "{O}\x7f", "a\tb", "[::1", "a:b:c"} {
		refuses(t, p, 400, true, "GET http://{O}/ HTTP/1.1", "Host: "+host)
	}
}

func originForm(t *testing.T, p *proxy) {
	refuses(t, p, 400, false, "GET / HTTP/1.1", "Host: {O}")
	refuses(t, p, 400, false, "GET //{O}/ HTTP/1.1", "Host: {O}")
	refuses(t, p, 400, false, "POST /x HTTP/1.1", "Host: {O}", "Content-Length: 0")
	refuses(t, p, 400, false, "GET {O}/ HTTP/1.1", "Host: {O}")
	refuses(t, p, 400, false, "GET {O} HTTP/1.1", "Host: {O}")
}

func asteriskForm(t *testing.T, p *proxy) {
	c, o := stage(t, p, says(ok("reached")))
	c.ask("OPTIONS * HTTP/1.1", "Host: {O}")
	if m := c.answer(); m.status() != 200 && m.status() != 204 && m.status() != 400 || !strings.HasPrefix(m.get("Proxy-Status"), "viaduct") {
		t.Errorf("OPTIONS *: %q", m.raw)
	}
	if o.dials() != 0 {
		t.Error("OPTIONS * went on to the Host of the request")
	}
	refuses(t, p, 400, false, "GET * HTTP/1.1", "Host: {O}")
}

func https(t *testing.T, p *proxy) {
	refuses(t, p, 400, false, "GET https://{O}/ HTTP/1.1", "Host: {O}")
	refuses(t, p, 400, false, "GET HTTPS://{O}/ HTTP/1.1", "Host: {O}")
}

func otherSchemes(t *testing.T, p *proxy) {
	for _, scheme := range []string{"ftp", "gopher", "ws", "x-unknown", "file", "httpx"} {
		refuses(t, p, 501, false, "GET "+scheme+"://{O}/ HTTP/1.1", "Host: {O}")
	}
}

func userinfo(t *testing.T, p *proxy) {
	for _, user := range []string{"u:sesame@", "sesame@", "@", ":@", "u:sesame%40@"} {
		m := refuses(t, p, 400, false, "GET http://"+user+"{O}/ HTTP/1.1", "Host: {O}")
		if strings.Contains(m.raw+m.body, "sesame") {
			t.Errorf("the password stands in the answer: %q", m.raw+m.body)
		}
	}
	if strings.Contains(p.log()+p.accessLog(t), "sesame") {
		t.Error("the password stands in a log")
	}
}

func fragment(t *testing.T, p *proxy) {
	refuses(t, p, 400, false, "GET http://{O}/#frag HTTP/1.1", "Host: {O}")
	refuses(t, p, 400, false, "GET http://{O}#frag HTTP/1.1", "Host: {O}")
	refuses(t, p, 400, false, "GET http://{O}/?q#other:80/ HTTP/1.1", "Host: {O}")
}

func invalidAuthority(t *testing.T, p *proxy) {
	for _, authority := range []string{
		"", ":{P}", "127.0.0.1:0", "127.0.0.1:65536", "127.0.0.1:99999", "127.0.0.1:abc", "127.0.0.1:-1", "127.0.0.1:+80",
		"127.0.0.1:80:80", "[::1", "[::1]x:80", "[127.0.0.1]:{P}", "[fe80::1%25eth0]:{P}", "[fe80::1%eth0]:{P}",
		"127.0.0.1\\{P}", "a_%00b:{P}", "127.0.0.1%2f:{P}", "127.0.0.1,x:{P}", "<127.0.0.1>:{P}", "..:{P}", ".:{P}",
	} {
		refuses(t, p, 400, false, "GET http://"+authority+"/ HTTP/1.1", "Host: x")
	}
}
