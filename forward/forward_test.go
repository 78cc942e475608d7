package forward_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"viaduct/accesslog"
	"viaduct/exchange"
	"viaduct/forward"
	"viaduct/metrics"
	"viaduct/relay"
	"viaduct/upstream"
)

// patience is how long a test waits for what must happen: a loaded machine
// takes its time. It is also every bound that a test doesn't set.
const patience = time.Minute

// TestMain fails the package if goroutines or descriptors are left.
func TestMain(m *testing.M) {
	l, err := net.Listen("tcp", "127.0.0.1:0") // the poller's own descriptors are open from here on
	if err != nil {
		panic(err)
	}
	_ = l.Close()
	const sparePipes = 4 // descriptors of the two pipes that relay keeps
	fds, routines := descriptors(), runtime.NumGoroutine()
	code := m.Run()
	if !eventually(func() bool { return runtime.NumGoroutine() <= routines && descriptors() <= fds+sparePipes }) {
		fmt.Printf("left: %d goroutines, were %d; %d descriptors, were %d\n", runtime.NumGoroutine(), routines, descriptors(), fds)
		buf := make([]byte, 1<<20)
		fmt.Printf("%s\n", buf[:runtime.Stack(buf, true)])
		code = 1
	}
	os.Exit(code)
}

func descriptors() int {
	list, _ := os.ReadDir("/proc/self/fd")
	return len(list)
}

func eventually(look func() bool) bool {
	for end := time.Now().Add(patience); ; <-time.After(2 * time.Millisecond) {
		if look() {
			return true
		}
		if time.Now().After(end) {
			return false
		}
	}
}

func must[T any](t testing.TB) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// anywhere is a guard that refuses nothing.
type anywhere struct{}

func (anywhere) Check(netip.AddrPort) error { return nil }

// nowhere takes everything.
type nowhere struct{}

func (nowhere) Write(p []byte) (int, error) { return len(p), nil }

// house is a running proxy.
type house struct {
	t        testing.TB
	exchange exchange.Options
	options  forward.Options
	proxy    *forward.Proxy
	tunnels  relay.Set
	draining atomic.Bool
	panics   atomic.Int32
	from     net.Addr // if not nil, where clients seem to come from

	l       net.Listener
	serving sync.WaitGroup

	mu      sync.Mutex // guards what follows
	clients map[*forward.Client]struct{}
	spare   []*forward.Client
}

// begin makes a proxy and lets clients in; change, which may be nil, changes it
// before it starts.
func begin(t testing.TB, change func(*house)) *house {
	t.Helper()
	h := &house{t: t, clients: map[*forward.Client]struct{}{}}
	h.exchange = exchange.Options{
		Mode: "forward", MaxHeader: 64 << 10,
		HeaderTimeout: patience, BodyTimeout: patience, DialTimeout: patience, ResponseTimeout: patience, IdleTimeout: patience,
		Log:      accesslog.New(nowhere{}, accesslog.JSON),
		Metrics:  metrics.New("test").Front("test"),
		Panicked: func(reason any, stack []byte) { h.panics.Add(1); t.Errorf("panic: %v\n%s", reason, stack) },
	}
	h.options = forward.Options{
		Exchange: &h.exchange, Idle: upstream.NewIdle(upstream.Options{}), AnyPort: true,
		Dialer: &upstream.Dialer{Guard: anywhere{}, Lookup: lookup},
	}
	if change != nil {
		change(h)
	}
	h.proxy = forward.New(h.options)
	h.l = must[net.Listener](t)(net.Listen("tcp", "127.0.0.1:0"))
	logged, stopLog := make(chan struct{}), context.CancelFunc(nil)
	var ctx context.Context
	ctx, stopLog = context.WithCancel(context.Background())
	go func() {
		defer close(logged)
		if h.exchange.Log != nil {
			h.exchange.Log.Run(ctx, func(err error) { t.Error(err) })
		}
	}()
	h.serving.Go(h.accept)
	t.Cleanup(func() { h.end(); stopLog(); <-logged })
	return h
}

func lookup(ctx context.Context, host string) ([]netip.Addr, error) {
	return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
}

func (h *house) current() *forward.Proxy { return h.proxy }

// elsewhere is a connection from another address.
type elsewhere struct {
	*net.TCPConn
	from net.Addr
}

func (e elsewhere) RemoteAddr() net.Addr { return e.from }

func (h *house) accept() {
	for {
		nc, err := h.l.Accept()
		if err != nil {
			return
		}
		if h.from != nil {
			nc = elsewhere{nc.(*net.TCPConn), h.from}
		}
		h.serving.Go(func() { h.serve(nc) })
	}
}

// serve lets what served one client serve the next, as the server does.
func (h *house) serve(nc net.Conn) {
	var old *forward.Client
	h.mu.Lock()
	if n := len(h.spare); n > 0 {
		old, h.spare = h.spare[n-1], h.spare[:n-1]
	}
	c := forward.Accept(nc, forward.Home{Current: h.current, Draining: &h.draining, Tunnels: &h.tunnels}, old)
	h.clients[c] = struct{}{}
	h.mu.Unlock()
	c.Serve()
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.clients, c)
	h.spare = append(h.spare, c)
}

func (h *house) each(do func(*forward.Client)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for c := range h.clients {
		do(c)
	}
}

// end stops everything.
func (h *house) end() {
	_ = h.l.Close()
	h.draining.Store(true)
	ended := make(chan struct{})
	go func() { defer close(ended); h.serving.Wait() }()
	over := func() bool {
		h.each(func(c *forward.Client) { c.Discard(); c.Cut() })
		select {
		case <-ended:
			return true
		default:
			return false
		}
	}
	if !eventually(over) {
		buf := make([]byte, 1<<20)
		h.t.Errorf("clients are still served\n%s", buf[:runtime.Stack(buf, true)])
		return
	}
	now, cancel := context.WithCancel(context.Background())
	cancel()
	_ = h.tunnels.Drain(now)
	h.options.Idle.Close()
}

// client is a connection to the proxy.
type client struct {
	net.Conn
	t testing.TB
	r *bufio.Reader
}

func (h *house) dial() *client {
	h.t.Helper()
	c := must[net.Conn](h.t)(net.Dial("tcp", h.l.Addr().String()))
	h.t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(patience))
	return &client{c, h.t, bufio.NewReader(c)}
}

func (c *client) say(format string, args ...any) {
	c.t.Helper()
	if _, err := fmt.Fprintf(c, format, args...); err != nil {
		c.t.Errorf("write: %v", err)
	}
}

// answer reads an answer with its body.
func (c *client) answer(method string) (*http.Response, string) {
	c.t.Helper()
	resp, err := http.ReadResponse(c.r, &http.Request{Method: method})
	if err != nil {
		c.t.Errorf("answer: %v", err)
		return &http.Response{Header: http.Header{}}, ""
	}
	if method == "CONNECT" && resp.StatusCode == 200 {
		return resp, ""
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		c.t.Errorf("body: %v", err)
	}
	return resp, string(body)
}

// origin is a listener; act serves each connection and then it is closed.
func origin(t testing.TB, act func(net.Conn)) string {
	t.Helper()
	l := must[net.Listener](t)(net.Listen("tcp", "127.0.0.1:0"))
	var acting sync.WaitGroup
	var mu sync.Mutex
	var conns []net.Conn
	acting.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			conns = append(conns, c)
			mu.Unlock()
			acting.Go(func() { defer c.Close(); act(c) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		mu.Lock()
		for _, c := range conns {
			_ = c.SetDeadline(time.Unix(1, 0))
		}
		mu.Unlock()
		acting.Wait()
	})
	return l.Addr().String()
}
