package resolve_test

import (
	"errors"
	"net"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"

	"viaduct/fault"
	"viaduct/resolve"
)

// A server that is of no use is followed by the next one, and comes second from
// then on.
func TestNextServer(t *testing.T) {
	for name, bad := range map[string]func(*play){
		"servfail":   func(p *play) { p.rcode(dns.RcodeServerFailure) },
		"refused":    func(p *play) { p.rcode(dns.RcodeRefused) },
		"notimp":     func(p *play) { p.rcode(dns.RcodeNotImplemented) },
		"formerr":    func(p *play) { p.rcode(dns.RcodeFormatError) },
		"unheard of": func(p *play) { p.rcode(15) },
		"few words":  func(p *play) { m := p.reply(); m.Rcode = dns.RcodeRefused; m.Question = nil; p.send(m) },
		"referral": func(p *play) {
			m := p.reply()
			m.RecursionAvailable = false
			m.Ns = []dns.RR{&dns.NS{Hdr: dns.RR_Header{Name: "test.", Rrtype: dns.TypeNS, Class: dns.ClassINET, Ttl: 9}, Ns: "ns.test."}}
			p.send(m)
		},
		"garbage": (*play).garbage,
		"silent":  func(*play) {},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			one, two := open(t, bad), open(t, func(p *play) { p.answer("A 192.0.2.2", "AAAA ::2") })
			r := newResolver(t, resolve.Options{Servers: []string{one.addr, two.addr}, Timeout: patience})
			want(t, r, "a.test", "::2", "192.0.2.2")
			before := one.count()
			want(t, r, "b.test", "::2", "192.0.2.2")
			if n := one.count(); n != before {
				t.Errorf("the bad server was asked first again")
			}
		})
	}
}

func TestNoNameIsFinal(t *testing.T) {
	one, two := open(t, func(p *play) { p.rcode(dns.RcodeNameError) }), open(t, func(p *play) { p.answer("A 192.0.2.2") })
	r := newResolver(t, resolve.Options{Servers: []string{one.addr, two.addr}})
	wantNone(t, r, "a.test")
	one.play(func(p *play) { p.answer() })
	wantNone(t, r, "b.test")
	if n := two.count(); n != 0 {
		t.Errorf("the second server was asked %d questions", n)
	}
}

// Nobody listens on one of the servers.
func TestServerThatIsNotThere(t *testing.T) {
	u, l := pair(t)
	nobody := l.Addr().String()
	_ = u.Close()
	_ = l.Close()
	s := open(t, func(p *play) { p.answer("A 192.0.2.2") })
	for _, scheme := range []string{"udp://", "tcp://", "tls://", "https://"} {
		r := newResolver(t, resolve.Options{Servers: []string{scheme + nobody, s.addr}, Timeout: patience})
		want(t, r, "a.test", "192.0.2.2")
		r = newResolver(t, resolve.Options{Servers: []string{scheme + nobody}, Timeout: patience})
		_, err := r.Lookup(within(t), "a.test")
		if fault.Classify(err) != fault.DNSError || !strings.Contains(err.Error(), "connection refused") {
			t.Errorf("%s: %v", scheme, err)
		}
	}
}

func TestLostQueryIsSentAgain(t *testing.T) {
	var asked atomic.Int64
	s := open(t, func(p *play) {
		if asked.Add(1) > 2 { // one for each family
			p.answer("A 192.0.2.1", "AAAA ::1")
		}
	})
	r := s.resolver(t, resolve.Options{Timeout: patience})
	want(t, r, "a.test", "::1", "192.0.2.1")
}

// All servers are silent: the flight ends by itself, and nobody asks more often
// than a few times.
func TestSilenceIsBounded(t *testing.T) {
	one, two := open(t, func(*play) {}), open(t, func(*play) {})
	r := newResolver(t, resolve.Options{Servers: []string{one.addr, two.addr}, Timeout: 600 * time.Millisecond})
	_, err := r.Lookup(within(t), "a.test")
	if fault.Classify(err) != fault.DNSTimeout || !strings.Contains(err.Error(), "no answer") {
		t.Errorf("%v", err)
	}
	if got := r.Stats(); got.Queries > 12 || got.Failures != got.Queries {
		t.Errorf("counted %+v", got)
	}
	noFlights(t, r)
}

// One is broken and one silent: what the broken one said is of more use.
func TestFailureSaysMoreThanSilence(t *testing.T) {
	one, two := open(t, func(*play) {}), open(t, func(p *play) { p.rcode(dns.RcodeServerFailure) })
	r := newResolver(t, resolve.Options{Servers: []string{one.addr, two.addr}, Timeout: 600 * time.Millisecond})
	_, err := r.Lookup(within(t), "a.test")
	if fault.Classify(err) != fault.DNSError || !strings.Contains(err.Error(), "SERVFAIL") {
		t.Errorf("%v", err)
	}
}

// A server from before EDNS says FORMERR to it.
func TestServerWithoutEDNS(t *testing.T) {
	s := open(t, func(p *play) {
		if p.q.IsEdns0() != nil {
			p.rcode(dns.RcodeFormatError)
			return
		}
		p.answer("A 192.0.2.1")
	})
	want(t, s.resolver(t, resolve.Options{}), "a.test", "192.0.2.1")
}

func TestQueryIsAsItShouldBe(t *testing.T) {
	asked := make(chan *dns.Msg, 100)
	s := open(t, func(p *play) { asked <- p.q; p.answer("A 192.0.2.1", "AAAA ::1") })
	r := s.resolver(t, resolve.Options{})
	ids := make(map[uint16]bool)
	for i := range 20 {
		want(t, r, name(i), "::1", "192.0.2.1")
		for range 2 {
			q := <-asked
			ids[q.Id] = true
			opt := q.IsEdns0()
			if !q.RecursionDesired || len(q.Question) != 1 || q.Question[0].Name != name(i)+"." || opt == nil || opt.UDPSize() != 1232 {
				t.Fatalf("asked %v", q)
			}
		}
	}
	if len(ids) < 35 {
		t.Errorf("%d different numbers in 40 queries", len(ids))
	}
}

// Each query has a port of its own.
func TestPortsDiffer(t *testing.T) {
	ports := make(chan string, 100)
	s := open(t, func(p *play) { ports <- p.w.RemoteAddr().String(); p.answer("A 192.0.2.1", "AAAA ::1") })
	r := s.resolver(t, resolve.Options{})
	seen := make(map[string]bool)
	for i := range 20 {
		want(t, r, name(i), "::1", "192.0.2.1")
		seen[<-ports] = true
		seen[<-ports] = true
	}
	if len(seen) < 20 {
		t.Errorf("%d different ports for 40 queries", len(seen))
	}
}

func conf(t *testing.T, lines ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "resolv.conf")
	write(t, path, strings.Join(lines, "\n"))
	return path
}

func TestSystemServersAndSearchList(t *testing.T) {
	s := open(t, zone(t, "www.corp.test. 300 A 192.0.2.1", "www. 300 A 192.0.2.66", "top. 300 A 192.0.2.2",
		"deep.svc.cluster.test. 300 A 192.0.2.3", "www.example. 300 A 192.0.2.4", "www.example.corp.test. 300 A 192.0.2.66"))
	r := newResolver(t, resolve.Options{Conf: conf(t, "nameserver "+s.addr, "search Corp.Test. cluster.test", "options ndots:2")})
	want(t, r, "www", "192.0.2.1")
	want(t, r, "top", "192.0.2.2")
	want(t, r, "deep.svc", "192.0.2.3")
	want(t, r, "www.example", "192.0.2.4")
	wantNone(t, r, "no.such.name")
	if _, err := r.Lookup(within(t), "nothing"); err == nil || !strings.Contains(err.Error(), "look up nothing: no such name") {
		t.Errorf("%v", err)
	}
}

// A search list completes names that do not exist, not those whose servers fail.
func TestFailureDoesNotSearch(t *testing.T) {
	s := open(t, func(p *play) {
		if p.name() == "www.svc." || p.name() == "intra.corp.test." {
			p.rcode(dns.RcodeServerFailure)
			return
		}
		p.answer("A 192.0.2.66")
	})
	r := newResolver(t, resolve.Options{Conf: conf(t, "nameserver "+s.addr, "search corp.test", "options ndots:5")})
	wantNone(t, r, "www.svc")
	wantNone(t, r, "intra")
}

func TestExplicitServersHaveNoSearchList(t *testing.T) {
	s := open(t, zone(t, "www.corp.test. 300 A 192.0.2.66"))
	r := s.resolver(t, resolve.Options{Conf: conf(t, "nameserver "+s.addr, "search corp.test")})
	wantNone(t, r, "www")
}

func TestConfIsReadAgain(t *testing.T) {
	one, two := open(t, func(p *play) { p.answer("A 192.0.2.1") }), open(t, func(p *play) { p.answer("A 192.0.2.2") })
	path := conf(t, "nameserver "+one.addr)
	now := new(clock)
	r := newResolver(t, resolve.Options{Conf: path, Now: now.now})
	want(t, r, "www.test", "192.0.2.1")

	write(t, path, "# the same\nnameserver "+one.addr)
	now.add(6 * time.Second)
	want(t, r, "www.test", "192.0.2.1")
	if n := r.Stats().Misses; n > 2 { // AAAA has expired
		t.Errorf("%d lookups asked", n)
	}

	write(t, path, "nameserver "+two.addr)
	want(t, r, "www.test", "192.0.2.1") // not looked at yet
	now.add(6 * time.Second)
	want(t, r, "www.test", "192.0.2.2") // the cache was the other server's
	if n := r.Stats().Entries; n != 1 {
		t.Errorf("%d entries", n)
	}
}

func TestRotate(t *testing.T) {
	one, two := open(t, func(p *play) { p.answer("A 192.0.2.1", "AAAA ::1") }), open(t, func(p *play) { p.answer("A 192.0.2.1", "AAAA ::1") })
	r := newResolver(t, resolve.Options{Conf: conf(t, "nameserver "+one.addr, "nameserver "+two.addr, "options rotate")})
	for i := range 10 {
		want(t, r, name(i), "::1", "192.0.2.1")
	}
	if one.count() != 10 || two.count() != 10 {
		t.Errorf("%d and %d questions", one.count(), two.count())
	}
}

func TestServerByName(t *testing.T) {
	ca := issue(t, "dns.test")
	secure := newStage(t, func(p *play) { p.answer("A 192.0.2.1") })
	secure.serveTLS(t, ca)
	_, port, _ := net.SplitHostPort(secure.addr)
	system := open(t, zone(t, "dns.test. 300 A 127.0.0.1", "dns.test. 300 AAAA ::1"))
	o := resolve.Options{Conf: conf(t, "nameserver "+system.addr), RootCAs: ca.pool, Timeout: patience}
	o.Servers = []string{"tls://DNS.test.:" + port}
	r := newResolver(t, o)
	want(t, r, "a.test", "192.0.2.1")
	asked := system.count()
	want(t, r, "b.test", "192.0.2.1")
	if asked != 2 || system.count() != asked {
		t.Errorf("%d questions to the system's server, then %d", asked, system.count())
	}
	o.Servers = []string{"tls://nowhere.test:" + port}
	_, err := newResolver(t, o).Lookup(within(t), "a.test")
	if fault.Classify(err) != fault.DNSError || !strings.Contains(err.Error(), "by the system's servers: ") {
		t.Errorf("%v", err)
	}
}

func TestBadServersAreRefused(t *testing.T) {
	_, err := resolve.New(resolve.Options{Servers: []string{"1.1.1.1", "ftp://1.1.1.1"}})
	if err == nil || !strings.Contains(err.Error(), `resolver "ftp://1.1.1.1"`) {
		t.Errorf("%v", err)
	}
	if _, ok := errors.AsType[*fault.Error](err); ok {
		t.Errorf("%v is no failure of a request", err)
	}
}
