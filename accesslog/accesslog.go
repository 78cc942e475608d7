// Package accesslog writes one line an exchange, in one of three formats. Lines
// are appended to a buffer without allocating, and written out behind the
// requests' back. No format tells a query string or a credential, and nothing
// that a client sends can forge a field or a line.
package accesslog

import (
	"context"
	"io"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// Entry is what the log tells of one exchange or tunnel. Its slices are read
// before Add returns. Query strings and credentials have no place in it.
type Entry struct {
	Time     time.Time // when the request had come
	Mode     string    // forward
	Client   netip.AddrPort
	User     string // who authenticated, or ""
	Method   []byte
	Target   []byte         // as asked for; the query is cut off here
	Minor    uint8          // of HTTP/1.x, as the client speaks it
	Egress   netip.Addr     // the source address used; zero: not told
	Pool     string         // the way out that was taken, or "" for none
	Parent   string         // the id of the proxy that was asked, or "" for none; else Endpoint is told
	Endpoint netip.AddrPort // the address that was dialled, if any
	Tries    int            // connections that the request was sent on
	Status   int            // sent to the client; 0 when none was
	Fault    string         // RFC 9209 token, or ""
	Cause    string         // of the fault, in the operator's words, or ""
	Decision string         // of the policy: allow, deny or observe; "" is not told
	Rule     string         // that decided, or ""
	Phase    string         // in which it was decided: client, auth, name, port, address or sni; or ""
	SNI      string         // the server that a ClientHello names, if that is not the target's host
	Inspect  string         // the rule by which the request's TLS was opened, or ""
	Received int64          // body or tunnel bytes from the client
	Sent     int64          // body or tunnel bytes to the client, heads not among them
	Dial     time.Duration  // name lookup and connecting; 0 when an idle connection was used
	First    time.Duration  // until the head of the answer, or the tunnel, was there
	Total    time.Duration  // until the end
	Ended    End            // who ended it, if that is to be told
	Referer  []byte         // of the request, for a log with Heads; query and userinfo are cut off here
	Agent    []byte         // User-Agent of the request, for a log with Heads
}

// End says who ended an exchange or a tunnel.
type End uint8

// Who ended it. None says nothing.
const (
	None   End = iota
	Client     // by leaving
	Server     // by the end of its answer, or before
	Proxy      // by an answer of our own, a limit, a drain or a failure
)

// String is the word in the log: client, server, proxy, or "" for None.
func (e End) String() string {
	switch e {
	case Client:
		return "client"
	case Server:
		return "server"
	case Proxy:
		return "proxy"
	}
	return ""
}

// Writer is a log. A nil Writer logs nothing. Its methods may be called from
// many goroutines while Run runs.
type Writer struct {
	to      atomic.Pointer[sink] // where lines go; nil: nowhere. Set under mu
	dropped atomic.Uint64
	begun   chan struct{} // tells Run that a sink is in waiting

	mu      sync.Mutex // guards waiting, and what sinks hold
	waiting []*sink    // for Run to begin with
}

// New makes a log that writes whole lines to out. If out is nil, the log is off.
func New(out io.Writer, f Format) *Writer {
	w := &Writer{begun: make(chan struct{}, 1)}
	w.begin(out, f)
	return w
}

// Heads tells whether the log has a place for Referer and Agent.
func (w *Writer) Heads() bool {
	if w == nil {
		return false
	}
	s := w.to.Load()
	return s != nil && s.format == Combined
}

// Dropped is how many lines were lost in all: they came faster than they could
// be written, writing them failed, or Switch gave them up.
func (w *Writer) Dropped() uint64 {
	if w == nil {
		return 0
	}
	return w.dropped.Load()
}

// Add appends the line of an exchange. It never waits for whoever takes the
// lines: when far more is held back than can be written, lines are dropped.
func (w *Writer) Add(e *Entry) {
	if w == nil || w.to.Load() == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.to.Load()
	if s == nil {
		return
	}
	if len(s.buf) > mostHeld {
		s.lost++
		w.dropped.Add(1)
		return
	}
	s.buf = e.append(s.buf, s.format)
	if len(s.buf) < flushSize {
		return
	}
	select {
	case s.full <- struct{}{}:
	default:
	}
}

// Run writes lines out until ctx ends, and then what is left. It returns when
// nothing is written any more, which a disk that hangs may put off for ever.
// failed is called when writing begins to fail, and with nil when it works
// again; never twice at a time.
func (w *Writer) Run(ctx context.Context, failed func(error)) {
	var sinks sync.WaitGroup
	defer sinks.Wait()
	r := &reports{failed: failed}
	for ending := false; !ending; {
		select {
		case <-ctx.Done():
			ending = true
		case <-w.begun:
		}
		for _, s := range w.started() {
			sinks.Go(func() { w.drain(ctx, s, r) })
		}
	}
}
