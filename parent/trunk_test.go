package parent_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"viaduct/fault"
	"viaduct/parent"
)

// exchange is a parent that many tunnels lead to.
type exchange struct {
	addr  string
	ca    *issuer
	dials atomic.Int32
}

// newExchange plays on each connection after TLS, with what was agreed on.
func newExchange(t testing.TB, play func(net.Conn), protocols ...string) *exchange {
	t.Helper()
	x := &exchange{ca: newIssuer(t)}
	cert := x.ca.sign(t, &x509.Certificate{IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}})
	x.addr = peer(t, secure(&tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: protocols}, play))
	return x
}

// serves is an exchange of the library's.
func serves(t testing.TB, most uint32, handle http.HandlerFunc) *exchange {
	t.Helper()
	return newExchange(t, func(c net.Conn) {
		base := &http.Server{ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)}
		(&http2.Server{MaxConcurrentStreams: most}).ServeConn(c, &http2.ServeConnOpts{BaseConfig: base, Handler: handle}) //nolint:staticcheck // what replaces it accepts connections by itself
	}, "h2")
}

func (x *exchange) proxy(t testing.TB) parent.Proxy {
	t.Helper()
	p := proxy(t, parent.HTTPS, x.addr)
	p.TLS = &tls.Config{RootCAs: x.ca.pool()}
	return p
}

func (x *exchange) dial(ctx context.Context) (net.Conn, error) {
	x.dials.Add(1)
	return new(net.Dialer).DialContext(ctx, "tcp", x.addr)
}

func (x *exchange) trunk(t testing.TB) *parent.Trunk {
	t.Helper()
	k := parent.NewTrunk(x.proxy(t), x.dial)
	t.Cleanup(k.Close)
	return k
}

// open is a tunnel that the test closes in the end.
func open(t testing.TB, k *parent.Trunk, target string) net.Conn {
	t.Helper()
	c, early, err := k.Tunnel(bounded(t), target, "")
	if err != nil || len(early) > 0 {
		t.Fatal(string(early), err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(patience))
	return c
}

// echoes is a target that sends back what comes, and ends when that does.
func echoes(w http.ResponseWriter, r *http.Request) {
	_ = http.NewResponseController(w).Flush()
	b := make([]byte, 16<<10)
	for {
		n, err := r.Body.Read(b)
		if _, err := w.Write(b[:n]); err != nil {
			return
		}
		_ = http.NewResponseController(w).Flush()
		if err == io.EOF {
			return
		}
		if err != nil {
			panic(http.ErrAbortHandler)
		}
	}
}

func TestTrunkCarriesManyTunnels(t *testing.T) {
	x := serves(t, 250, echoes)
	k := x.trunk(t)
	var all sync.WaitGroup
	for range 200 {
		all.Go(func() {
			c, _, err := k.Tunnel(bounded(t), "a:1", "")
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			_ = c.SetDeadline(time.Now().Add(patience))
			for range 5 {
				b := make([]byte, 3000)
				if _, err := c.Write(b); err != nil {
					t.Error(err)
				}
				if _, err := io.ReadFull(c, b); err != nil {
					t.Error(err)
				}
			}
			if c.LocalAddr() == nil || c.RemoteAddr().String() != x.addr {
				t.Error(c.LocalAddr(), c.RemoteAddr())
			}
		})
	}
	all.Wait()
	// Before the first connection has said how many it takes, 100 wait for it.
	if n := x.dials.Load(); n > 2 {
		t.Errorf("%d connections", n)
	}
}

func TestTrunkAsksOnceConnected(t *testing.T) {
	x := serves(t, 250, echoes)
	k := x.trunk(t)
	for range 200 {
		passes(t, open(t, k, "a:1"))
	}
	if n := x.dials.Load(); n != 1 {
		t.Errorf("%d connections", n)
	}
}

// TestTrunkAsksForNoMoreThanTheParentTakes: and for a further connection then.
func TestTrunkAsksForNoMoreThanTheParentTakes(t *testing.T) {
	x := serves(t, 3, echoes)
	k := x.trunk(t)
	var first net.Conn
	for i := range 10 {
		c := open(t, k, "a:1")
		passes(t, c)
		if i == 0 {
			first = c
		}
	}
	if n := x.dials.Load(); n != 4 {
		t.Errorf("%d connections", n)
	}
	for _, c := range []net.Conn{first, open(t, k, "a:1"), open(t, k, "a:1")} {
		_ = c.Close()
	}
	passes(t, open(t, k, "a:1"))
	if n := x.dials.Load(); n != 4 {
		t.Errorf("%d connections, though tunnels have ended", n)
	}
}

func TestTrunkRequest(t *testing.T) {
	asked := make(chan *http.Request, 1)
	x := serves(t, 250, func(w http.ResponseWriter, r *http.Request) {
		asked <- r
		w.Header().Set("Content-Length", "7") // means nothing
		w.WriteHeader(http.StatusCreated)
		_, _ = io.WriteString(w, "welcome")
	})
	p := x.proxy(t)
	p.User, p.Password = "u", parent.Hide("p")
	k := parent.NewTrunk(p, x.dial)
	t.Cleanup(k.Close)
	c, early, err := k.Tunnel(bounded(t), "[2001:DB8::1]:22", "1.1 viaduct-x")
	if err != nil || early != nil {
		t.Fatal(early, err)
	}
	defer c.Close()
	if b, err := io.ReadAll(c); string(b) != "welcome" || err != nil {
		t.Errorf("%q %v", b, err)
	}
	r := <-asked
	got := fmt.Sprint(r.Method, r.Host, r.URL.Path, r.Header)
	if want := "CONNECT[2001:db8::1]:22map[Proxy-Authorization:[Basic dTpw] Via:[1.1 viaduct-x]]"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if _, _, err := k.Tunnel(bounded(t), "a:1\r\nx: y", ""); fault.Classify(err) != fault.RequestError || parent.Blame(err) != parent.Us {
		t.Error(err)
	}
	if _, _, err := k.Tunnel(bounded(t), "a:1", "x\r\ny: z"); fault.Classify(err) != fault.ConfigurationError {
		t.Error(err)
	}
}

// TestTrunkToAnOldParent: each connection is asked for the tunnel that it was
// made for, and has no other.
func TestTrunkToAnOldParent(t *testing.T) {
	for name, protocols := range map[string][]string{"that chooses": {"http/1.1"}, "that does not": nil} {
		t.Run(name, func(t *testing.T) {
			x := newExchange(t, func(c net.Conn) {
				head, _ := readHead(c)
				if head[:11] == "CONNECT no:" {
					_, _ = io.WriteString(c, "HTTP/1.1 403 no\r\n\r\n")
					return
				}
				_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\n")
				echo(c)
			}, protocols...)
			k := x.trunk(t)
			var all sync.WaitGroup
			for range 10 {
				all.Go(func() {
					_, _, err := k.Tunnel(bounded(t), "no:1", "")
					judged(t, err, fault.RequestDenied, 403, parent.Target)
				})
			}
			all.Wait()
			for range 10 {
				all.Go(func() {
					c, _, err := k.Tunnel(bounded(t), "a:1", "")
					if err != nil {
						t.Error(err)
						return
					}
					defer c.Close()
					if _, ok := c.(*tls.Conn); !ok {
						t.Errorf("%T", c)
					}
				})
			}
			all.Wait()
			if n := x.dials.Load(); n != 20 {
				t.Errorf("%d connections", n)
			}
		})
	}
	plain := peer(t, connects)
	k := parent.NewTrunk(proxy(t, parent.HTTP, plain), func(ctx context.Context) (net.Conn, error) { return new(net.Dialer).DialContext(ctx, "tcp", plain) })
	c, _, err := k.Tunnel(bounded(t), peer(t, echo), "")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	passes(t, c)
}

func TestTrunkRefusals(t *testing.T) {
	for _, tt := range []struct {
		status int
		told   string
		kind   fault.Kind
		code   int
		party  parent.Party
	}{
		{407, "", fault.ConfigurationError, 500, parent.Us},
		{407, "p; error=connection_refused", fault.ConfigurationError, 500, parent.Us},
		{400, "", fault.ConfigurationError, 500, parent.Us},
		{403, "", fault.RequestDenied, 403, parent.Target},
		{403, "viaduct; error=destination_ip_prohibited", fault.DestinationIPProhibited, 403, parent.Target},
		{421, "", fault.LoopDetected, 421, parent.Us},
		{502, "viaduct; error=connection_refused", fault.ConnectionRefused, 502, parent.Target},
		{503, "", fault.DestinationUnavailable, 503, parent.Target},
		{503, "a; error=connection_limit_reached", fault.DestinationUnavailable, 502, parent.Parent},
		{504, "", fault.ConnectionTimeout, 504, parent.Target},
		{500, "", fault.DestinationUnavailable, 502, parent.Target},
		{302, "", fault.ProtocolError, 502, parent.Parent},
	} {
		t.Run(fmt.Sprint(tt.status, tt.told), func(t *testing.T) {
			x := serves(t, 250, func(w http.ResponseWriter, r *http.Request) {
				if r.Host == "good:1" {
					echoes(w, r)
					return
				}
				if tt.told != "" {
					w.Header().Set("Proxy-Status", tt.told)
				}
				w.WriteHeader(tt.status)
				_, _ = w.Write(make([]byte, 10_000))
			})
			k := x.trunk(t)
			_, _, err := k.Tunnel(bounded(t), "bad:1", "")
			judged(t, err, tt.kind, tt.code, tt.party)
			if r, ok := errors.AsType[*parent.RefusedError](err); !ok || r.Status != tt.status {
				t.Error(err)
			}
			passes(t, open(t, k, "good:1"))
			if n := x.dials.Load(); n != 1 {
				t.Errorf("%d connections", n)
			}
		})
	}
}

// TestTrunkDialFails: those that wait learn it too, but a time that runs out is
// one's own.
func TestTrunkDialFails(t *testing.T) {
	var dials atomic.Int32
	begun := make(chan struct{}, 100)
	broken := &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}
	k := parent.NewTrunk(parent.Proxy{Scheme: parent.HTTPS, Host: "a", Port: 1}, func(ctx context.Context) (net.Conn, error) {
		begun <- struct{}{}
		if dials.Add(1) == 1 {
			<-ctx.Done()
			return nil, ctx.Err()
		}
		return nil, broken
	})
	ctx, cancel := context.WithCancel(t.Context())
	var all sync.WaitGroup
	all.Go(func() {
		_, _, err := k.Tunnel(ctx, "a:1", "")
		if !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
	<-begun
	late, stop := context.WithTimeout(t.Context(), short)
	defer stop()
	_, _, err := k.Tunnel(late, "a:1", "")
	judged(t, err, fault.ConnectionTimeout, 504, parent.Parent)
	for range 20 {
		all.Go(func() {
			if _, _, err := k.Tunnel(bounded(t), "a:1", ""); !errors.Is(err, syscall.ECONNREFUSED) || parent.Blame(err) != parent.Parent {
				t.Error(err)
			}
		})
	}
	cancel()
	all.Wait()
}

func TestTrunkContext(t *testing.T) {
	heard := make(chan struct{}, 10)
	x := serves(t, 250, func(w http.ResponseWriter, r *http.Request) {
		if r.Host == "good:1" {
			echoes(w, r)
			return
		}
		<-r.Context().Done()
		heard <- struct{}{}
	})
	k := x.trunk(t)
	_, _, err := k.Tunnel(expired(t), "a:1", "")
	if parent.Blame(err) == parent.Us || err == nil {
		t.Error(err)
	}
	passes(t, open(t, k, "good:1"))
	ctx, cancel := context.WithTimeout(t.Context(), short)
	defer cancel()
	_, _, err = k.Tunnel(ctx, "a:1", "")
	judged(t, err, fault.ConnectionTimeout, 504, parent.Unclear)
	<-heard
	gone, leave := context.WithCancel(t.Context())
	timer := time.AfterFunc(short, leave)
	defer timer.Stop()
	_, _, err = k.Tunnel(gone, "a:1", "")
	if !errors.Is(err, context.Canceled) || parent.Blame(err) != parent.Unclear {
		t.Error(err)
	}
	<-heard
	ctx, cancel = context.WithCancel(t.Context())
	c, _, err := k.Tunnel(ctx, "good:1", "")
	cancel()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	passes(t, c) // it outlives the context
}

// TestTunnelUnreadByTheParentStopsNoOther: one that is not read there, and takes
// all of the window, has the connection for itself after a while.
func TestTunnelUnreadByTheParentStopsNoOther(t *testing.T) {
	x := serves(t, 250, func(w http.ResponseWriter, r *http.Request) {
		if r.Host == "good:1" {
			echoes(w, r)
			return
		}
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	})
	k := x.trunk(t)
	k.Hurry(short, time.Hour, time.Hour)
	deaf := open(t, k, "deaf:1")
	_ = deaf.SetWriteDeadline(time.Now().Add(2 * short))
	n, err := deaf.Write(make([]byte, 10<<20))
	if n == 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("%d %v", n, err)
	}
	passes(t, open(t, k, "good:1"))
}
