// Package exchange carries one request over one upstream connection and the
// answer back, streamed. It retries what is safe to repeat, hands tunnels to
// the relay, and is the only writer of answers, our own included.
//
// It decides nothing about who may go where: a front reads a request with
// Session.Next, makes up its mind, and calls Forward, Tunnel, Refuse or Reply.
package exchange

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"viaduct/accesslog"
	"viaduct/clock"
	"viaduct/fault"
	"viaduct/health"
	"viaduct/hop"
	"viaduct/metrics"
	"viaduct/pool"
	"viaduct/relay"
	"viaduct/upstream"
	"viaduct/wire"
)

// Options are shared by the sessions of a listener, and immutable. A timeout of
// zero bounds nothing.
type Options struct {
	Mode      string // for the access log
	Anonymity hop.Anonymity
	MaxHeader int // bytes of a request's head

	HeaderTimeout   time.Duration // from the first byte of a head to its last; first heads: from the accept
	BodyTimeout     time.Duration // gap in a request's body; a client that does not read
	DialTimeout     time.Duration // name lookup and connecting; required
	ResponseTimeout time.Duration // until the head of the answer, all tries together
	IdleTimeout     time.Duration // between requests; gap in an answer's body
	Tunnel          relay.Options

	Challenge string // Proxy-Authenticate of a 407
	Contact   string // whom those can ask who are denied something; may be empty

	Log      *accesslog.Writer              // nil logs nothing
	Metrics  *metrics.Front                 // nil counts nothing
	Panicked func(reason any, stack []byte) // told of a panic, which ended one connection
}

// Home is what a session belongs to for as long as it lasts.
type Home struct {
	Current  func() *Options             // the options of the moment; asked for each request, save that MaxHeader holds for good
	Draining *atomic.Bool                // the connection ends after its exchange
	Tunnels  *relay.Set                  // for what becomes a tunnel
	Ended    func(client netip.AddrPort) // told when the connection, or its tunnel, is over; may be nil
}

func (h *Home) end(client netip.AddrPort) {
	if h.Ended != nil {
		h.Ended(client)
	}
}

// Session is one client connection. One goroutine serves it; Discard and Cut may
// be called from any.
type Session struct {
	o      *Options // for the present request
	home   Home
	client *wire.Conn
	remote netip.AddrPort

	accepted time.Duration // when the connection came

	origin *upstream.Origin // of the last request; most clients stay with one
	spot   spot             // where that is

	bound *upstream.Conn // idle, and this client's alone; or nil
	tie   tie            // of that

	*work // nil between exchanges

	up     atomic.Pointer[upstream.Conn] // in use; the client may wait for it
	cancel context.CancelFunc            // while the client waits for a dial

	cut     atomic.Bool
	closing bool       // the connection ends after this exchange
	unread  bool       // then the client may still be sending
	left    bool       // or it is not there any more, or not to see a good end
	taken   bool       // the connection belongs to a tunnel now
	broken  bool       // by a panic
	upload  chan error // brings the end of an upload; made by the first
	hangs   func()     // parentHangs
}

// work is what a session needs only while an exchange lasts.
type work struct {
	req, resp  wire.Head
	entry      accesslog.Entry
	began      time.Duration
	sending    stream // of the request's body, while it is being sent
	answering  stream // of the answer's
	uploading  bool
	responding atomic.Bool // the head of the final answer has come
	uploadErr  error       // of the client's side, when the upload ended by itself
	continued  bool        // 100 (Continue) was passed on
	heard      bool        // the origin has said something
	reused     bool        // the request was last sent on an idle connection
	tied       bool        // which was bound to the client
	ride       pool.Request
	riding     bool
	judged     netip.AddrPort // the address of the destination; not valid: somebody else knows
	leg        leg
	outcome    health.Report // of the ride
	bounds     struct{ request, answer bound }
	shown      []byte // the target, as people are told of it

	way *Way // of what may become a tunnel
}

var works = sync.Pool{New: func() any { return new(work) }}

// Open begins to serve a client. Close must follow.
func Open(nc net.Conn, h Home) *Session {
	o := h.Current()
	s := &Session{o: o, home: h, client: wire.New(nc, o.MaxHeader), remote: addrPort(nc.RemoteAddr()), accepted: clock.Now()}
	s.client.OnGone(s.clientGone)
	s.hangs = s.parentHangs
	return s
}

// Reopen serves another client with a session whose Close has released it.
func (s *Session) Reopen(nc net.Conn, h Home) {
	s.o, s.home = h.Current(), h
	s.client.Reset(nc, s.o.MaxHeader)
	s.remote, s.accepted = addrPort(nc.RemoteAddr()), clock.Now()
	s.closing, s.unread, s.left, s.taken = false, false, false, false
	s.cut.Store(false)
}

func addrPort(a net.Addr) netip.AddrPort {
	t, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.AddrPort{}
	}
	ap := t.AddrPort()
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}

// Remote is the client's address; the zero value where it has none.
func (s *Session) Remote() netip.AddrPort { return s.remote }

// Request is the request to be answered. It is valid until Next.
func (s *Session) Request() *wire.Head { return &s.req }

// Discard closes the connection if the client owes the first byte of a request,
// and tells so.
func (s *Session) Discard() bool { return s.client.DiscardQuiet() }

// Cut ends the session wherever it is.
func (s *Session) Cut() {
	s.cut.Store(true)
	s.client.Cut()
}

// Close ends the session, and its connection unless a tunnel has it. It is
// deferred by the goroutine that serves the session, and recovers its panics.
func (s *Session) Close() {
	if r := recover(); r != nil {
		s.broken = true
		s.closing = true
		if s.o.Panicked != nil {
			s.o.Panicked(r, debug.Stack())
		}
		s.breakOff()
		if s.work != nil {
			s.stopUpload()
			s.ride.End(clock.Now(), health.Report{Blame: health.ByUs})
		}
		s.dropUpstream()
	}
	s.unbind()
	s.leaveOrigin()
	if s.taken {
		return
	}
	s.client.Drop()
	_ = s.client.Close()
	s.home.end(s.remote)
}

// Released tells whether Reopen may follow Close.
func (s *Session) Released() bool { return s.client.Released() && !s.broken }

// Next ends the last exchange and reads the next request, which the caller then
// answers. It returns false when the connection is done; what was wrong with
// it, if anything, the client has been told.
func (s *Session) Next() bool {
	if s.work != nil {
		s.work.release()
		s.work = nil
	}
	draining := s.home.Draining.Load()
	if s.closing || s.taken || draining && s.client.Used() && s.client.Clean() {
		s.part()
		return false
	}
	first := s.o.IdleTimeout
	switch {
	case draining: // its request is on the way
		first = DrainFirst
	case !s.client.Used():
		first = s.firstLimit()
	}
	if s.client.Await(first) != nil {
		return false
	}
	s.o = s.home.Current()
	s.work = works.Get().(*work)
	limit := s.o.HeaderTimeout
	if !s.client.Used() {
		limit = 0 // runs since the accept already
	}
	err := s.client.ReadRequest(&s.req, limit)
	s.begin()
	if err != nil {
		s.refuseUnread(err)
		return false
	}
	s.client.LimitRead(0, 0)
	s.closing = s.req.Close
	return true
}

func (w *work) release() {
	w.entry = accesslog.Entry{}
	w.sending, w.answering = stream{}, stream{}
	w.uploading, w.uploadErr, w.continued, w.heard, w.reused, w.tied, w.way, w.shown = false, nil, false, false, false, false, nil, nil
	w.bounds.request, w.bounds.answer = bound{}, bound{}
	w.leg, w.outcome, w.judged = leg{}, health.Report{}, netip.AddrPort{}
	w.responding.Store(false)
	works.Put(w)
}

// begin starts the clock and the log entry of an exchange.
func (s *Session) begin() {
	s.began = clock.Now()
	s.shown = s.req.Target
	if s.o.Log == nil {
		return
	}
	s.entry = accesslog.Entry{
		Time: time.Now(), Mode: s.o.Mode, Client: s.remote, Method: s.req.Method, Target: s.req.Target, Minor: s.req.Minor,
	}
	if s.o.Log.Heads() {
		s.entry.Referer, s.entry.Agent = s.field("referer"), s.field("user-agent")
	}
}

// field is the value of a field of the request that the engine has no name for.
func (s *Session) field(name string) []byte {
	for i := range s.req.Fields {
		if f := &s.req.Fields[i]; wire.Fold(f.Name, name) {
			return f.Value
		}
	}
	return nil
}

// end logs and counts the exchange, unless it has become a tunnel, which that
// is done for when it ends.
func (s *Session) end() {
	if s.taken {
		return
	}
	now := clock.Now()
	s.entry.Total = now - s.began
	s.leave(now)
	s.o.Log.Add(&s.entry)
	e := &s.entry
	s.o.Metrics.Exchange(metrics.Exchange{
		Status: e.Status, Fault: e.Fault, Received: e.Received, Sent: e.Sent,
		Total: e.Total, Dial: e.Dial, Reused: s.reused,
	})
}

// giveUp ends the exchange of a client that has gone before it was answered.
func (s *Session) giveUp() {
	s.closing, s.left = true, true
	s.clientLeft()
}

// clientLeft tells the log that the client's connection ended before the
// exchange did.
func (s *Session) clientLeft() {
	s.entry.Fault, s.entry.Ended = fault.ConnectionTerminated.String(), accesslog.Client
	if s.cut.Load() {
		s.entry.Ended = accesslog.Proxy
	}
}

// refuseUnread answers a request whose head could not be read.
func (s *Session) refuseUnread(err error) {
	s.closing = true
	bad := asFault(err)
	switch {
	case bad != nil:
	case errors.Is(err, os.ErrDeadlineExceeded):
		bad = errSlowHead
		s.client.Revive()
	default: // the client has left
		return
	}
	s.refuse(bad)
	s.end()
	s.linger()
}

var (
	errSlowHead = fault.Bad(408, "The head of the request did not come in time.")
	errSlowBody = fault.Bad(408, "The body of the request did not come in time.")
)

// clientGone runs on the clock's goroutine when the client left while it
// waited; EndWait tells the session.
func (s *Session) clientGone() {
	if s.cancel != nil {
		s.cancel()
	}
	if up := s.up.Load(); up != nil {
		up.Abort()
	}
}

// dropUpstream closes the connection in use: nothing that follows on it could be
// trusted.
func (s *Session) dropUpstream() {
	if up := s.up.Swap(nil); up != nil {
		_ = up.Close()
	}
}

// DrainFirst is how long a new client may take for its first byte when a drain
// has begun.
const DrainFirst = 200 * time.Millisecond

// Bounds of the wait for a client that is still sending when it has been
// answered for the last time.
const (
	lingerTime = 3 * time.Second
	lingerMax  = 64 << 20
)

// part makes sure that the last answer arrives.
func (s *Session) part() {
	if !s.taken && !s.left && (s.unread || s.client.Used() && !s.client.Clean()) {
		s.linger()
	}
}

// linger ends the sending side and reads on for a while: closing at once, with
// input unread, would reset the connection, and the reset could overtake the
// answer (RFC 9112 section 9.6).
func (s *Session) linger() {
	nc := s.client.NetConn()
	half, ok := nc.(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil {
		return
	}
	s.client.Revive()
	s.client.LimitRead(clock.Now(), lingerTime)
	b := wire.NewBuffer()
	defer b.Free()
	for n := 0; n < lingerMax; {
		m, err := nc.Read(b.B[:cap(b.B)])
		if n += m; err != nil {
			return
		}
	}
}

// isEnd tells whether an error says that the other side has ended or reset the
// connection.
func isEnd(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || fault.Classify(err) == fault.ConnectionTerminated
}
