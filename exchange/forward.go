package exchange

import (
	"cmp"
	"errors"
	"io"
	"os"
	"time"

	"viaduct/accesslog"
	"viaduct/clock"
	"viaduct/fault"
	"viaduct/health"
	"viaduct/upstream"
	"viaduct/wire"
)

var errClientGone = errors.New("client left before it was answered")

// Forward sends the request on and the answer back, or answers for the
// destination if that fails. path is the origin-form of the target.
func (s *Session) Forward(w *Way, path []byte) {
	if err := s.Ask(w, path); err != nil {
		s.Fail(err)
		return
	}
	s.Pass()
}

// Ask sends the request on and reads the head of the final answer, which Answer
// then is. Pass or Drop must follow. An error is for Fail.
func (s *Session) Ask(w *Way, path []byte) error {
	s.way = w
	upgrade := s.wantsUpgrade()
	var first error // of the tries that were sent
	for fresh := false; ; {
		up, reused, err := s.connect(w, fresh)
		if err != nil {
			s.lost(err)
			return cmp.Or(first, err)
		}
		s.up.Store(up)
		s.reused = reused
		s.reached(w, up.Remote(), up.NetConn())
		sent, err := s.attempt(w, up, path, upgrade, reused)
		if s.riding {
			err = s.awaited(up, err)
		}
		if err == nil {
			s.limited(w)
			return nil
		}
		s.dropUpstream()
		switch {
		case reused && !s.heard && s.mayRepeat(err, sent):
			fresh = true
		case s.elsewhere(err, sent):
			fresh, first = false, err
		default:
			s.lost(err)
			return err
		}
	}
}

// Answer is the head of the answer that Ask has got. Its fields may be changed
// before Pass, but for those that the engine has names for.
func (s *Session) Answer() *wire.Head { return &s.resp }

// Pass sends the client the answer that Ask has got, and ends the exchange.
func (s *Session) Pass() {
	defer s.end()
	up := s.up.Load()
	if s.resp.Status == 101 {
		s.switchProtocols(up)
		return
	}
	now := clock.Now()
	s.entry.First = now - s.began
	err := s.relayBody(up, now)
	switch _, isDenied := errors.AsType[*Denied](err); {
	case err == nil:
		s.conclude(up)
	case isDenied && !s.answering.wrote: // in time to say so
		s.Drop()
		s.refuse(err)
		s.leaveUnread()
	default:
		s.dropUpstream()
		s.abandon()
	}
}

// Drop gives up the answer that Ask has got. The client still has to be told.
func (s *Session) Drop() {
	s.stopUpload()
	s.dropUpstream()
}

// mayRepeat tells whether a request may be sent once more: on the idle
// connection it was sent on first, the origin has not said a word. What was not
// sent at all may be repeated always, the rest only if the method allows it and
// the body is still there (RFC 9110 section 9.2.2).
func (s *Session) mayRepeat(err error, sent bool) bool {
	if errors.Is(err, wire.ErrStale) {
		return true
	}
	if s.uploading { // the body is in other hands, and not to be looked at
		return false
	}
	if _, whole := s.client.WholeBody(); !whole {
		return false
	}
	return isEnd(err) && (!sent || idempotent(s.req.Method))
}

func idempotent(method []byte) bool {
	switch string(method) {
	case "GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE":
		return true
	}
	return false
}

// attempt sends the request on one connection and reads the head of the final
// answer. It tells whether the request, or a part of it, was sent.
func (s *Session) attempt(w *Way, up *upstream.Conn, path []byte, upgrade, reused bool) (sent bool, err error) {
	now := s.began
	if !reused {
		now = clock.Now() // the dial took its time
	}
	if s.riding {
		s.ride.Await(now, s.hangs)
	}
	body, whole := s.client.WholeBody()
	if !whole {
		if reused && !up.Clean() {
			return false, wire.ErrStale
		}
		s.startUpload(w, up, path, now)
		return true, s.receive(up, upgrade)
	}
	out := wire.NewBuffer()
	out.B = s.appendRequest(out.B, w, path, upgrade)
	out.B = append(out.B, body...)
	s.entry.Received = int64(len(body))
	left := s.timeLeft(now)
	up.LimitRead(now, left)
	up.LimitWrite(now, left)
	s.client.BeginWait(now, clock.Patience)
	sent, err = up.Exchange(out.B, reused, out)
	if err != nil {
		return sent, s.endWait(err)
	}
	s.heard = true
	return true, s.receive(up, upgrade)
}

// endWait ends the client's wait, and says what to make of an error of it.
func (s *Session) endWait(err error) error {
	if !s.client.EndWait() {
		return errClientGone
	}
	return err
}

// receive reads the head of the final answer, and passes on those before it.
func (s *Session) receive(up *upstream.Conn, upgrade bool) error {
	for {
		err := up.ReadResponse(&s.resp, string(s.req.Method) == "HEAD")
		switch {
		case err != nil:
			return s.endWait(err)
		case s.resp.Status >= 200, s.resp.Status == 101:
			if err := s.endWait(nil); err != nil {
				return err
			}
			return s.accept(up, upgrade)
		}
		if err := s.interim(); err != nil {
			return err
		}
	}
}

// interim passes a 1xx on, to a client that knows them (RFC 9110 section 15.2).
func (s *Session) interim() error {
	s.continued = s.continued || s.resp.Status == 100
	if s.req.Minor == 0 {
		return nil
	}
	out := wire.NewBuffer()
	defer out.Free()
	out.B = s.appendResponse(out.B, bare)
	t := stream{dst: s.client, out: out, stall: s.o.BodyTimeout, now: clock.Now()}
	if err := t.flush(); err != nil {
		_ = s.endWait(nil)
		return errClientGone
	}
	return nil
}

// accept judges the head of the final answer, or of a change of protocol.
func (s *Session) accept(up *upstream.Conn, upgrade bool) error {
	switch {
	case s.resp.Status == 101 && !(upgrade && s.agreed()):
		return fault.New(fault.UpgradeFailed, errors.New("101 to a request that did not ask for it"))
	case s.leg.absolute:
		if err := s.ownAnswer(); err != nil {
			return err
		}
	case s.resp.Status == 407:
		// RFC 9110 section 11.7.1: a challenge comes from the next inbound
		// proxy alone; there is none behind an origin.
		return fault.New(fault.ProtocolError, errors.New("407 from an origin"))
	}
	if s.uploading && s.req.Expect && !s.continued && !s.stopUpload() {
		// The client may send its body or leave it (RFC 9110 section 10.1.1).
		up.Revive()
		s.resp.Close = true // the origin may still wait for it
		s.closing, s.unread = true, true
	}
	return nil
}

// framing is how the end of an answer's body is marked towards the client.
type framing uint8

const (
	asIs    framing = iota // as it came
	bare                   // no body, and no word of one
	chunked                // it came until the connection closed
	byClose                // the client knows no chunks
)

func (s *Session) framing() framing {
	h := &s.resp
	switch {
	case h.Status < 200, h.Status == 204:
		return bare
	case s.req.Minor == 0 && (h.Chunked || h.Has(wire.TransferEncoding)):
		return byClose
	case h.Chunked || h.Length >= 0:
		return asIs
	case s.req.Minor == 0:
		return byClose
	}
	return chunked
}

// relayBody sends the final answer, head and body.
func (s *Session) relayBody(up *upstream.Conn, now time.Duration) error {
	frame := s.framing()
	if s.home.Draining.Load() || s.uploading && len(s.upload) == 0 && s.refusesBody() {
		s.closing = true
	}
	out := wire.NewBuffer()
	out.B = s.appendResponse(out.B, frame)
	s.entry.Status = s.resp.Status
	t := &s.answering
	*t = stream{
		src: up.Conn, dst: s.client, out: out, now: now,
		chunked: frame == chunked || frame == asIs && s.resp.Chunked,
		gap:     s.o.IdleTimeout, stall: s.o.BodyTimeout, session: s, head: &s.resp, bound: s.bounds.answer,
	}
	t.client = s.client
	s.responding.Store(true)
	up.LimitRead(0, 0)
	up.LimitWrite(0, 0)
	err := t.run()
	out.Free()
	s.entry.Sent = t.moved
	s.entry.Ended = accesslog.Server
	if err != nil {
		s.brokeOff(t, err)
	}
	return err
}

// brokeOff tells the log what broke an answer off.
func (s *Session) brokeOff(t *stream, err error) {
	late := errors.Is(err, os.ErrDeadlineExceeded)
	switch {
	case s.wasDenied(err):
		s.outcome.Blame = health.ByUs
	case t.blame == s.client:
		s.outcome.Blame = health.ByClient
		s.clientLeft()
	case late:
		s.outcome.Blame = health.ByTarget
		s.entry.Fault = fault.ConnectionReadTimeout.String()
	default:
		s.outcome.Fault = fault.ResponseIncomplete
		s.entry.Fault = fault.ResponseIncomplete.String()
	}
	if late {
		s.entry.Ended = accesslog.Proxy // by a limit of its own
	}
}

// wasDenied tells the log of a body that was longer than it may be, if that is what
// an error says.
func (s *Session) wasDenied(err error) bool {
	denied, ok := errors.AsType[*Denied](err)
	if ok {
		denied.enter(&s.entry)
		s.entry.Fault, s.entry.Ended = denied.Fault.Kind.String(), accesslog.Proxy
	}
	return ok
}

// abandon ends the client's connection in the middle of an answer. A client
// that would take the end of the connection for the end of the body sees a
// reset (RFC 9112 section 8), and so does one whose TLS would end in good order.
func (s *Session) abandon() {
	s.closing, s.left = true, true
	s.stopUpload()
	s.wasDenied(s.uploadErr)
	if s.framing() == byClose || s.Secure() != nil {
		s.breakOff()
	}
}

// breakOff makes the end of the client's connection a reset, which nobody takes
// for the end of an answer, and has TLS say no goodbye before.
func (s *Session) breakOff() {
	nc := clock.Socket(s.client.NetConn())
	if c, ok := nc.(interface{ SetLinger(int) error }); ok {
		_ = c.SetLinger(0)
		_ = nc.Close()
	}
}

// conclude puts the connections in order after an answer.
func (s *Session) conclude(up *upstream.Conn) {
	if !s.uploading {
		s.client.SkipBody()
	} else if !s.endUpload() {
		s.dropUpstream()
		s.closing, s.unread = true, true
		return
	}
	if s.resp.Close {
		s.dropUpstream()
		return
	}
	bound := s.binds()
	s.up.Store(nil)
	if bound {
		s.keep(up)
		return
	}
	up.Put(clock.Now())
}

// Fail answers for a destination that could not, and ends the exchange.
func (s *Session) Fail(err error) {
	s.fail(err)
	s.end()
}

func (s *Session) fail(err error) {
	s.stopUpload()
	if s.client.Aborted() {
		s.client.Revive()
	}
	switch bad := s.uploadFault(); {
	case errors.Is(err, errClientGone), errors.Is(bad, errClientGone):
		s.giveUp()
		return
	case bad != nil:
		err = bad
	}
	s.refuse(err)
	s.leaveUnread()
}

// describe makes an answerable error of one from the way to the destination.
func describe(err error) *fault.Error {
	if e := asFault(err); e != nil {
		return e
	}
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded) && fault.Classify(err) != fault.ConnectionTimeout:
		return fault.New(fault.ResponseTimeout, err)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return fault.New(fault.ConnectionTerminated, err)
	}
	return fault.New(fault.Classify(err), err)
}

// asFault is the *fault.Error in the chain of err, or nil.
func asFault(err error) *fault.Error {
	e, _ := errors.AsType[*fault.Error](err)
	return e
}
