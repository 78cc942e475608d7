package exchange

import (
	"errors"
	"os"
	"runtime/debug"
	"time"

	"viaduct/clock"
	"viaduct/fault"
	"viaduct/upstream"
	"viaduct/wire"
)

// A request whose body has not come yet is sent by a second goroutine, so that
// the answer is passed on whenever it comes: the origin may refuse the body
// half-way, or answer while it reads (RFC 9112 section 9.3).

// startUpload begins to send the request, head and body.
func (s *Session) startUpload(w *Way, up *upstream.Conn, path []byte, now time.Duration) {
	if s.upload == nil {
		s.upload = make(chan error, 1)
	}
	out := wire.NewBuffer()
	out.B = s.appendRequest(out.B, w, path, false)
	s.sending = stream{
		src: s.client, dst: up.Conn, out: out, now: now, chunked: s.req.Chunked,
		gap: s.o.BodyTimeout, stall: s.o.BodyTimeout, session: s, head: &s.req, bound: s.bounds.request,
	}
	if s.req.Expect && s.o.BodyTimeout > 0 {
		s.sending.gap += s.o.ResponseTimeout // the client waits for the origin first
	}
	s.uploading = true
	s.client.Sending(true)
	s.client.BeginWait(now, clock.Patience)
	go s.sendBody(up)
}

// sendBody is the goroutine of an upload. The session must find the result when
// Abort wakes it; what the origin says is of no use any more then.
func (s *Session) sendBody(up *upstream.Conn) {
	err := s.runUpload(up)
	ours := s.blameless(err)
	s.client.Sending(false)
	s.upload <- err
	if ours {
		up.Abort()
	}
}

// runUpload sends the body, and makes an error of a panic.
func (s *Session) runUpload(up *upstream.Conn) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fault.New(fault.InternalError, nil)
			if s.o.Panicked != nil {
				s.o.Panicked(r, debug.Stack())
			}
		}
	}()
	err = s.sending.run()
	s.sending.out.Free()
	if err == nil && !s.responding.Load() {
		up.LimitReadOnce(clock.Now(), s.o.ResponseTimeout)
	}
	return err
}

// blameless tells whether an upload failed through no fault of the origin's.
func (s *Session) blameless(err error) bool {
	return err != nil && (s.sending.blame == s.client || asFault(err) != nil)
}

// ended takes the result of an upload in.
func (s *Session) ended(err error) {
	s.uploading = false
	s.entry.Received = s.sending.moved
	if s.blameless(err) {
		s.uploadErr = err
	}
}

// refusesBody tells whether an answer ends the upload that it came before the
// end of.
func (s *Session) refusesBody() bool { return s.resp.Close || s.req.Expect && !s.continued }

// endUpload waits for the end of an upload whose request is answered already,
// where the origin still takes it, and tells whether all of it was sent.
func (s *Session) endUpload() bool {
	if !s.refusesBody() {
		s.client.BeginWait(clock.Now(), clock.Patience) // a client that leaves ends it
		err := <-s.upload
		s.ended(err)
		return s.client.EndWait() && err == nil
	}
	select {
	case err := <-s.upload:
		s.ended(err)
		return err == nil
	default:
		s.stopUpload()
		return false
	}
}

// stopUpload ends an upload at once, if one is under way, and tells whether all
// was sent before.
func (s *Session) stopUpload() bool {
	if !s.uploading {
		return true
	}
	select {
	case err := <-s.upload:
		s.ended(err)
		return err == nil
	default:
	}
	s.client.Abort()
	s.sending.dst.Abort()
	<-s.upload
	s.ended(nil)
	s.client.Revive()
	return false
}

// uploadFault is what the client did wrong while it sent its body, or nil.
func (s *Session) uploadFault() error {
	switch {
	case s.uploadErr == nil, asFault(s.uploadErr) != nil:
		return s.uploadErr
	case errors.Is(s.uploadErr, os.ErrDeadlineExceeded):
		return errSlowBody
	}
	return errClientGone
}
