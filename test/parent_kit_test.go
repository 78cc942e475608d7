package test

import (
	"bufio"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// upper is a scripted parent proxy: it does what it is told, and writes down
// what it was asked. Whatever is no address of the loopback it finds on the same
// port of 127.0.0.1, so that names and public addresses lead somewhere.
type upper struct {
	*origin
	scheme, login string
	doing         atomic.Pointer[deed]
}

// deed is what a parent does with a request. It tells whether another one may
// follow on the connection.
type deed func(c *originConn, r *message) bool

// upperSpec says what a parent is. The zero value is an ordinary HTTP proxy.
type upperSpec struct {
	scheme string      // http, https or socks5
	login  string      // user:password that it wants
	tls    *tls.Config // of https
	addr   string      // where it listens, if that matters
	act    deed
	script func(*originConn) // instead of what proxies do
}

// newUpper is an HTTP proxy on the loopback that does this, or what proxies do.
func newUpper(t testing.TB, does ...deed) *upper {
	t.Helper()
	s := upperSpec{}
	if len(does) > 0 {
		s.act = does[0]
	}
	return s.start(t)
}

// newUppers are so many ordinary ones.
func newUppers(t testing.TB, n int) (all []*upper) {
	t.Helper()
	for range n {
		all = append(all, newUpper(t))
	}
	return all
}

func (s upperSpec) start(t testing.TB) *upper {
	t.Helper()
	u := &upper{scheme: s.scheme, login: s.login}
	if u.scheme == "" {
		u.scheme = "http"
	}
	if s.act == nil {
		s.act = forwards
	}
	u.does(s.act)
	switch {
	case s.script != nil:
	case u.scheme == "socks5":
		s.script = u.socks
	default:
		s.script = u.serves
	}
	u.origin = newOriginOn(t, s.listen(t), s.tls, s.script)
	return u
}

// listen waits for an address that was somebody's a moment ago.
func (s upperSpec) listen(t testing.TB) (ln net.Listener) {
	t.Helper()
	if s.addr == "" {
		s.addr = "127.0.0.1:0"
	}
	poll(t, s.addr+" is free", func() (free bool) {
		var err error
		ln, err = net.Listen("tcp", s.addr)
		return err == nil
	})
	return ln
}

// newOriginOn is newOriginTLS for a socket that listens already.
func newOriginOn(t testing.TB, ln net.Listener, conf *tls.Config, script func(*originConn)) *origin {
	t.Helper()
	o := &origin{ln: ln, addr: ln.Addr().String(), script: script, tls: conf, over: make(chan struct{})}
	o.host, o.port, _ = net.SplitHostPort(o.addr)
	go o.accept()
	t.Cleanup(o.close)
	return o
}

// does changes what it does from the next request on.
func (u *upper) does(a deed) { u.doing.Store(&a) }

// id is what a pool calls it, and what the log does.
func (u *upper) id() string { return u.scheme + "://" + u.addr }

// url is how an operator writes it, with the credentials that it wants.
func (u *upper) url() string {
	if u.login == "" {
		return u.id()
	}
	name, password, _ := strings.Cut(u.login, ":")
	return u.scheme + "://" + url.UserPassword(name, password).String() + "@" + u.addr
}

// urls are those of several.
func urls(all ...*upper) (list []string) {
	for _, u := range all {
		list = append(list, u.url())
	}
	return list
}

// asked is what it was asked for so far: CONNECT a.test:443, GET http://a.test/.
func (u *upper) asked() (all []string) {
	for _, m := range u.seen() {
		all = append(all, m.method()+" "+m.target())
	}
	return all
}

// wantAsked fails unless it was asked for exactly this so far.
func (u *upper) wantAsked(t testing.TB, want ...string) {
	t.Helper()
	if got := strings.Join(u.asked(), "\n"); got != strings.Join(want, "\n") {
		t.Errorf("the parent was asked for %q, want %q", u.asked(), want)
	}
}

// serves is the script of an HTTP proxy.
func (u *upper) serves(c *originConn) {
	for r := c.request(); r != nil; r = c.request() {
		want := "Basic " + base64.StdEncoding.EncodeToString([]byte(u.login))
		if u.login != "" && r.get("Proxy-Authorization") != want {
			c.send(wantsLogin)
			return
		}
		if !(*u.doing.Load())(c, r) {
			return
		}
	}
}

// wantsLogin is a 407 that no client of ours may see.
const wantsLogin = "HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm=\"inner\"\r\nContent-Length: 10\r\n\r\ninner-text"

// socks is the script of a SOCKS5 proxy (RFC 1928, RFC 1929). What it is asked
// for is filed as CONNECT HOST:PORT SOCKS5, with the login as a field.
func (u *upper) socks(c *originConn) {
	methods := c.take(2)
	if methods == nil || methods[0] != 5 {
		return
	}
	offered, method := c.take(int(methods[1])), byte(0)
	if u.login != "" {
		method = 2
	}
	if !strings.Contains(string(offered), string(method)) {
		c.send("\x05\xff")
		return
	}
	c.send("\x05" + string(method))
	r := &message{}
	if method == 2 {
		name := c.take(int(c.take(2)[1]))
		r.fields = []field{{"Login", string(name) + ":" + string(c.take(int(c.take(1)[0])))}}
		if r.fields[0].value != u.login {
			c.send("\x01\x01")
			return
		}
		c.send("\x01\x00")
	}
	target := c.socksTarget()
	if target == "" {
		return
	}
	r.line = "CONNECT " + target + " SOCKS5"
	c.o.file(r)
	(*u.doing.Load())(c, r)
}

// take reads so many bytes; what does not come is zero.
func (c *originConn) take(n int) []byte {
	b := make([]byte, n)
	io.ReadFull(c.in, b) // a peer that has ended is noticed by what is asked for
	return b
}

func (c *originConn) socksTarget() string {
	var host string
	switch head := c.take(4); head[3] {
	case 1:
		host = netip.AddrFrom4([4]byte(c.take(4))).String()
	case 3:
		host = string(c.take(int(c.take(1)[0])))
	case 4:
		host = netip.AddrFrom16([16]byte(c.take(16))).String()
	default:
		return ""
	}
	port := c.take(2)
	return net.JoinHostPort(host, fmt.Sprint(int(port[0])<<8|int(port[1])))
}

// upperAddress is where connections of parents to origins come from.
const upperAddress = "127.0.9.9"

// strangers are the connections to an origin that came by no parent.
func (o *origin) strangers() (n int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, c := range o.conns {
		if c.peer() != upperAddress {
			n++
		}
	}
	return n
}

// reach connects to what a parent was asked for.
func reach(target string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(target)
	if err != nil {
		return nil, err
	}
	if ip, err := netip.ParseAddr(host); err != nil || !ip.IsLoopback() {
		host = "127.0.0.1"
	}
	d := net.Dialer{Timeout: patience, LocalAddr: &net.TCPAddr{IP: net.ParseIP(upperAddress)}}
	return d.Dial("tcp", net.JoinHostPort(host, port))
}

// granted and unreached are a parent's words on a tunnel.
func granted(r *message) string {
	if r.word(2) == "SOCKS5" {
		return "\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00"
	}
	return "HTTP/1.1 200 Connection established\r\n\r\n"
}

func unreached(r *message) string {
	if r.word(2) == "SOCKS5" {
		return "\x05\x05\x00\x01\x00\x00\x00\x00\x00\x00"
	}
	return "HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n"
}

// forwards is what proxies do.
func forwards(c *originConn, r *message) bool {
	target := r.target()
	if r.method() != "CONNECT" {
		at, err := url.Parse(target)
		if err != nil || at.Host == "" {
			c.send("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
			return false
		}
		if target = at.Host; at.Port() == "" {
			target += ":80"
		}
	}
	far, err := reach(target)
	if err != nil {
		c.send(unreached(r))
		return false
	}
	defer far.Close()
	far.SetDeadline(time.Now().Add(4 * patience))
	if r.method() != "CONNECT" {
		return passOn(c, r, far)
	}
	c.send(granted(r))
	join(c, far, far)
	return false
}

// passOn sends a plain request to its origin, and the answer back.
func passOn(c *originConn, r *message, far net.Conn) bool {
	at, _ := url.Parse(r.target())
	head := []string{r.method() + " " + at.RequestURI() + " HTTP/1.1"}
	for _, f := range r.fields {
		if !strings.HasPrefix(f.name, "Proxy-") {
			head = append(head, f.name+": "+f.value)
		}
	}
	body := r.body
	if r.has("Transfer-Encoding") {
		body = fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(body), body)
	}
	io.WriteString(far, lines(head...)+body)
	in := bufio.NewReader(far)
	m, err := readAnswer(in, r.method())
	if err != nil || m.err != nil && m.body == "" {
		c.send(unreached(r))
		return true
	}
	c.send(m.raw + m.body)
	if m.status() == 101 {
		join(c, far, in)
	}
	return m.status() != 101 && m.has("Content-Length") && m.err == nil
}

// join is a tunnel between a parent's client and a far side.
func join(c *originConn, far net.Conn, fromFar io.Reader) {
	over := make(chan struct{})
	go func() {
		defer close(over)
		pour(far, c.in)
	}()
	pour(c.Conn, fromFar)
	<-over
}

// pour copies until one side ends, and tells the other: an end as an end, a
// break as a break.
func pour(to net.Conn, from io.Reader) {
	if _, err := io.Copy(to, from); err != nil {
		reset(to)
		return
	}
	to.(interface{ CloseWrite() error }).CloseWrite()
}

// answers is a deed: these bytes, and the end.
func answers(text string) deed {
	return func(c *originConn, _ *message) bool { c.send(text); return false }
}

// turnsDown is a deed: this status and nothing more, again and again.
func turnsDown(status string) deed {
	return func(c *originConn, _ *message) bool {
		return c.send("HTTP/1.1 "+status+"\r\nContent-Length: 5\r\n\r\ninner") == nil
	}
}

// grants is a deed: a tunnel whose far side has spoken first and then echoes.
func grants(head, said string) deed {
	return func(c *originConn, r *message) bool {
		yes := head
		if yes == "" {
			yes = granted(r)
		}
		c.send(yes + said)
		echo(c)
		return false
	}
}

// Acts of parents that are of no use.
func hangsUp(*originConn, *message) bool       { return false }
func breaksOff(c *originConn, _ *message) bool { reset(c); return false }
func isSilent(c *originConn, _ *message) bool  { c.drain(); return false }

// drips is a deed: an answer that never comes to its end.
func drips(c *originConn, _ *message) bool {
	if c.send("HTTP/1.1 200 OK\r\nX: ") != nil {
		return false
	}
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for c.send("x") == nil {
		select {
		case <-c.o.over:
			return false
		case <-tick.C:
		}
	}
	return false
}

// byHost is a deed that depends on the first label of what is asked for; who is
// not named there is forwarded.
func byHost(acts map[string]deed) deed {
	return func(c *originConn, r *message) bool {
		host := strings.TrimPrefix(r.target(), "http://")
		if i := strings.IndexAny(host, ".:/"); i >= 0 {
			host = host[:i]
		}
		if a := acts[host]; a != nil {
			return a(c, r)
		}
		return forwards(c, r)
	}
}

// way is a file with one lenient proxy whose only way out is the pool parents;
// options are more of the pool, more of the proxy.
func way(endpoints []string, options string, more ...string) string {
	return confWith("admin: {listen: 127.0.0.1:0}\npools:\n"+poolText("parents", endpoints, options), append([]string{"via: parents"}, more...)...)
}

// poolText is a pool of a file. It is not checked, unless options say how.
func poolText(name string, endpoints []string, options string) string {
	quoted := make([]string, len(endpoints))
	for i, e := range endpoints {
		quoted[i] = fmt.Sprintf("%q", e)
	}
	if !strings.Contains(options, "health:") {
		options = strings.TrimPrefix(options+", health: {check: none}", ", ")
	}
	return fmt.Sprintf("  %s: {endpoints: [%s], %s}\n", name, strings.Join(quoted, ", "), options)
}

// through starts a proxy by way.
func through(t testing.TB, endpoints []string, options string, more ...string) *proxy {
	t.Helper()
	return launch{conf: way(endpoints, options, more...)}.start(t)
}

// poolState is a pool as /api/status shows it.
type poolState struct {
	Name      string
	Balance   string
	InFlight  int `json:"in_flight"`
	Endpoints []endpointState
}

// endpointState is an endpoint of it.
type endpointState struct {
	ID, Standing, Cause, Reason       string
	Admin, Discovery, Active, Passive string
	Errors, Ejections                 int
	InFlight                          int `json:"in_flight"`
	Weight, Tier                      int
	Picks, Failures                   int
	Resting                           int  // destinations
	Everywhere                        bool `json:"rests_everywhere"`
}

// pools are those of a running proxy.
func (p *proxy) pools(t testing.TB) []poolState {
	t.Helper()
	m := p.admin(t, "/api/status")
	var s struct{ Pools []poolState }
	if err := json.Unmarshal([]byte(m.body), &s); m.status() != 200 || err != nil || len(s.Pools) == 0 {
		t.Fatalf("/api/status: %q, %v: %q", m.line, err, clip(m.body))
	}
	return s.Pools
}

// endpoint is one of them, by its id.
func (p *proxy) endpoint(t testing.TB, id string) endpointState {
	t.Helper()
	for _, pool := range p.pools(t) {
		for _, e := range pool.Endpoints {
			if e.ID == id {
				return e
			}
		}
	}
	t.Fatalf("no endpoint %s in /api/status: %+v", id, p.pools(t))
	return endpointState{}
}

// manyTunnels is a parent over TLS that speaks HTTP/2, and counts connections.
type manyTunnels struct {
	addr   string
	server *http.Server
	conns  atomic.Int32 // that were opened
	two    atomic.Int32 // tunnels over HTTP/2
}

func newManyTunnels(t testing.TB, addr string, conf *tls.Config) *manyTunnels {
	t.Helper()
	h := &manyTunnels{}
	ln := upperSpec{addr: addr}.listen(t)
	h.addr = ln.Addr().String()
	h.server = &http.Server{Handler: h, TLSConfig: conf.Clone(), ReadHeaderTimeout: patience, ConnState: func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			h.conns.Add(1)
		}
	}}
	go h.server.ServeTLS(ln, "", "")
	t.Cleanup(func() { h.server.Close() })
	return h
}

// ServeHTTP joins a stream with its target.
func (h *manyTunnels) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	far, err := reach(r.Host)
	if r.Method != http.MethodConnect || err != nil {
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	defer far.Close()
	if r.ProtoMajor == 2 {
		h.two.Add(1)
	}
	out := http.NewResponseController(w)
	w.WriteHeader(http.StatusOK)
	out.Flush()
	go func() {
		io.Copy(far, r.Body)
		far.(*net.TCPConn).CloseWrite()
	}()
	for buf := make([]byte, 4096); ; {
		n, err := far.Read(buf)
		w.Write(buf[:n])
		out.Flush()
		if err != nil {
			return
		}
	}
}
