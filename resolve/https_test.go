package resolve_test

import (
	"bytes"
	"crypto/x509"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"

	"viaduct/fault"
	"viaduct/resolve"
)

const dnsMessage = "application/dns-message"

// post is a question that came over HTTPS.
type post struct {
	w       http.ResponseWriter
	request *http.Request
	q       *dns.Msg
}

// give answers with a message.
func (p post) give(change func(*dns.Msg), records ...string) {
	m := new(dns.Msg).SetReply(p.q)
	m.RecursionAvailable = true
	for _, text := range records {
		rr, _ := dns.NewRR(p.q.Question[0].Name + " 300 " + text)
		if rr.Header().Rrtype == p.q.Question[0].Qtype {
			m.Answer = append(m.Answer, rr)
		}
	}
	if change != nil {
		change(m)
	}
	b, _ := m.Pack()
	p.w.Header().Set("Content-Type", dnsMessage)
	_, _ = p.w.Write(b)
}

// web is a server of DNS over HTTPS, and the options of a resolver that asks it.
func web(t testing.TB, http2 bool, script func(post)) (resolve.Options, *httptest.Server) {
	t.Helper()
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		q := new(dns.Msg)
		if err != nil || q.Unpack(b) != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		script(post{w, r, q})
	}))
	s.EnableHTTP2 = http2
	s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	s.StartTLS()
	t.Cleanup(s.Close)
	pool := x509.NewCertPool()
	pool.AddCert(s.Certificate())
	return resolve.Options{Servers: []string{s.URL + "/dns-query"}, RootCAs: pool, Timeout: patience}, s
}

func TestHTTPS(t *testing.T) {
	for name, http2 := range map[string]bool{"http1": false, "http2": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o, s := web(t, http2, func(p post) {
				h := p.request.Header
				if p.request.Method != http.MethodPost || p.request.URL.Path != "/dns-query" || h.Get("Content-Type") != dnsMessage ||
					h.Get("Accept") != dnsMessage || p.q.Id != 0 || (p.request.ProtoMajor == 2) != http2 ||
					h.Get("User-Agent") != "" || h.Get("Idempotency-Key") != "" || h.Get("Accept-Encoding") != "" {
					t.Errorf("%s %s %s %v %v", p.request.Proto, p.request.Method, p.request.URL, h, p.q)
				}
				p.give(nil, "A 192.0.2.1", "AAAA ::1")
			})
			r := newResolver(t, o)
			for i := range 20 {
				want(t, r, fmt.Sprintf("n%d.test", i), "::1", "192.0.2.1")
			}
			s.CloseClientConnections()
			if _, err := r.Lookup(within(t), "after.test"); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestHTTPSAgeCounts(t *testing.T) {
	var asked atomic.Int64
	o, _ := web(t, true, func(p post) {
		asked.Add(1)
		p.w.Header().Set("Age", "290")
		p.give(nil, "A 192.0.2.1", "AAAA ::1")
	})
	now := new(clock)
	o.Now = now.now
	r := newResolver(t, o)
	want(t, r, "a.test", "::1", "192.0.2.1")
	now.add(9 * time.Second)
	want(t, r, "a.test", "::1", "192.0.2.1")
	if n := asked.Load(); n != 2 {
		t.Errorf("%d questions", n)
	}
	now.add(2 * time.Second)
	want(t, r, "a.test", "::1", "192.0.2.1")
	if n := asked.Load(); n != 4 {
		t.Errorf("%d questions", n)
	}
}

func TestHTTPSThatFails(t *testing.T) {
	for _, tt := range []struct {
		name, says string
		script     func(post)
	}{
		{"500", "status 500", func(p post) { p.w.WriteHeader(http.StatusInternalServerError) }},
		{"204", "status 204", func(p post) { p.w.WriteHeader(http.StatusNoContent) }},
		{"redirect", "status 307", func(p post) {
			http.Redirect(p.w, p.request, "/elsewhere", http.StatusTemporaryRedirect)
		}},
		{"type", "text/html", func(p post) { p.w.Header().Set("Content-Type", "text/html"); _, _ = p.w.Write([]byte("<html>")) }},
		{"too long", "more than 65535 bytes", func(p post) {
			p.w.Header().Set("Content-Type", dnsMessage)
			_, _ = p.w.Write(make([]byte, 1<<20))
		}},
		{"endless", "more than 65535 bytes", func(p post) {
			p.w.Header().Set("Content-Type", dnsMessage)
			for _, err := p.w.Write(bytes.Repeat([]byte{1}, 1<<10)); err == nil; _, err = p.w.Write(bytes.Repeat([]byte{1}, 1<<10)) {
			}
		}},
		{"long head", "", func(p post) { p.w.Header().Set("X", strings.Repeat("x", 1<<20)); p.give(nil, "A 192.0.2.66") }},
		{"empty", "not an answer", func(p post) { p.w.Header().Set("Content-Type", dnsMessage) }},
		{"other number", "not an answer", func(p post) { p.give(func(m *dns.Msg) { m.Id = 1 }, "A 192.0.2.66") }},
		{"other question", "not an answer", func(p post) { p.give(func(m *dns.Msg) { m.Question[0].Name = "b.test." }, "A 192.0.2.66") }},
		{"servfail", "SERVFAIL", func(p post) { p.give(func(m *dns.Msg) { m.Rcode = dns.RcodeServerFailure }) }},
		{"truncated", "truncated", func(p post) { p.give(func(m *dns.Msg) { m.Truncated = true }) }},
		{"breaks off", "", func(p post) {
			p.w.Header().Set("Content-Type", dnsMessage)
			p.w.Header().Set("Content-Length", "1000")
			_, _ = p.w.Write(make([]byte, 100))
		}},
		{"panics", "", func(post) { panic(http.ErrAbortHandler) }},
	} {
		for proto, http2 := range map[string]bool{"http1": false, "http2": true} {
			t.Run(tt.name+"/"+proto, func(t *testing.T) {
				t.Parallel()
				o, _ := web(t, http2, tt.script)
				got, err := newResolver(t, o).Lookup(within(t), "a.test")
				if fault.Classify(err) != fault.DNSError || !strings.Contains(err.Error(), tt.says) {
					t.Errorf("%v, %v; want: %s", got, err, tt.says)
				}
			})
		}
	}
}

// The server says nothing, in the middle of an answer even; nothing is left of
// that.
func TestHTTPSSilence(t *testing.T) {
	for name, begin := range map[string]bool{"at once": false, "in the body": true} {
		for proto, http2 := range map[string]bool{"http1": false, "http2": true} {
			t.Run(name+"/"+proto, func(t *testing.T) {
				t.Parallel()
				o, _ := web(t, http2, func(p post) {
					if begin {
						p.w.Header().Set("Content-Type", dnsMessage)
						_, _ = p.w.Write([]byte{0, 0})
						_ = http.NewResponseController(p.w).Flush()
					}
					<-p.request.Context().Done()
				})
				o.Timeout = 300 * time.Millisecond
				_, err := newResolver(t, o).Lookup(within(t), "a.test")
				if fault.Classify(err) != fault.DNSTimeout {
					t.Errorf("%v", err)
				}
			})
		}
	}
}

// The environment has no say in where questions go.
func TestHTTPSUsesNoProxy(t *testing.T) {
	var caught atomic.Int64
	proxy := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { caught.Add(1) }))
	defer proxy.Close()
	t.Setenv("HTTPS_PROXY", proxy.URL)
	t.Setenv("https_proxy", proxy.URL)
	o, s := web(t, true, func(p post) { p.give(nil, "A 192.0.2.1") })
	_, port, _ := net.SplitHostPort(s.Listener.Addr().String())
	hosts := t.TempDir() + "/hosts"
	write(t, hosts, "127.0.0.1 example.com\n") // the environment never matters for the loopback
	o.Servers, o.Hosts = []string{"https://example.com:" + port}, hosts
	want(t, newResolver(t, o), "a.test", "192.0.2.1")
	if caught.Load() != 0 {
		t.Error("a proxy was asked")
	}
}
