package cable

import (
	"errors"
	"fmt"
	"strconv"
	"syscall"

	"golang.org/x/net/http2"

	"viaduct/clock"
	"viaduct/fault"
	"viaduct/wire"
)

// Why there is no answer, where it is not a failure of the connection.
var (
	ErrUnasked = errors.New("not processed")                       // the parent knows nothing of the request (RFC 9113 section 8.7)
	ErrOld     = errors.New("it wants HTTP/1.1")                   // RFC 9113 section 7
	ErrTarget  = errors.New("the connection to the target failed") // RFC 9113 section 8.5
	ErrSilent  = errors.New("no answer")                           // while the context lasted
)

var (
	errFrame   = fault.New(fault.ProtocolError, errors.New("a frame where none may be"))
	errWindow  = fault.New(fault.ProtocolError, errors.New("more than the window has room for"))
	errLarge   = fault.New(fault.ResponseHeaderSize, nil)
	errEnds    = fault.New(fault.ProtocolError, errors.New("the answer ends before it is one"))
	errStatus  = fault.New(fault.ProtocolError, errors.New("no status"))
	errInterim = fault.New(fault.ProtocolError, errors.New("too many interim answers"))
)

// listen is the goroutine that reads.
func (c *Cable) listen() {
	for {
		f, err := c.frames.ReadFrame()
		if bad, ok := errors.AsType[http2.StreamError](err); ok {
			c.malformed(bad)
			continue
		}
		if err == nil {
			err = c.take(f)
		}
		if err != nil {
			c.kill(err)
			return
		}
	}
}

// malformed ends a stream because of a frame that the library could not read.
func (c *Cable) malformed(bad http2.StreamError) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s := c.streams[bad.StreamID]; s != nil {
		s.abort(bad.Code, fault.New(fault.ProtocolError, bad))
	}
}

// take takes a frame. An error ends the connection.
func (c *Cable) take(f http2.Frame) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.heard, c.asked, c.doubted = clock.Now(), false, false
	if err := c.taking(f); err != nil {
		return err
	}
	if len(c.out) > mostReplies {
		return errFlood
	}
	if len(c.out) > 0 {
		c.more.Signal()
	}
	return nil
}

func (c *Cable) taking(f http2.Frame) error {
	id := f.Header().StreamID
	s := c.streams[id] // nil: it has ended here, and the parent did not know
	switch f.(type) {
	case *http2.PriorityFrame, *http2.UnknownFrame:
		return nil
	}
	if id%2 == 0 && id > 0 || id >= c.next {
		return http2.ConnectionError(http2.ErrCodeProtocol) // of a stream that never was
	}
	switch f := f.(type) {
	case *http2.DataFrame:
		c.takeData(s, f)
	case *http2.MetaHeadersFrame:
		if s != nil {
			s.takeHead(f)
		}
	case *http2.RSTStreamFrame:
		if s != nil {
			s.takeReset(f.ErrCode)
		}
	case *http2.WindowUpdateFrame:
		return c.takeWindow(s, id, int64(f.Increment))
	case *http2.SettingsFrame:
		return c.takeSettings(f)
	case *http2.PingFrame:
		if !f.IsAck() {
			return c.frames.WritePing(true, f.Data)
		}
	case *http2.GoAwayFrame:
		c.takeGoAway(f)
	case *http2.PushPromiseFrame:
		return http2.ConnectionError(http2.ErrCodeProtocol) // we have said that there shall be none
	}
	return nil
}

func (c *Cable) takeData(s *Stream, f *http2.DataFrame) {
	n := int64(f.Header().Length) // padding counts, too
	if c.taken += int(n); c.taken >= cableWindow/2 {
		_ = c.frames.WriteWindowUpdate(0, uint32(c.taken))
		c.taken = 0
	}
	switch {
	case s == nil:
		return
	case s.head.Status == 0 || s.ended:
		s.abort(http2.ErrCodeStreamClosed, errFrame)
		return
	case n > s.credit:
		s.abort(http2.ErrCodeFlowControl, errWindow)
		return
	}
	s.credit -= n
	s.opens(n - int64(len(f.Data())))
	s.keep(f.Data())
	if f.StreamEnded() {
		s.end()
	}
	s.stir.Broadcast()
}

func (c *Cable) takeWindow(s *Stream, id uint32, n int64) error {
	switch {
	case id == 0:
		c.window += n
		c.dry = 0
		c.unblock()
		if c.window > mostWindow {
			return http2.ConnectionError(http2.ErrCodeFlowControl)
		}
	case s != nil:
		s.window += n
		s.stir.Broadcast()
		if s.window > mostWindow {
			s.abort(http2.ErrCodeFlowControl, errWindow)
		}
	}
	return nil
}

func (c *Cable) takeSettings(f *http2.SettingsFrame) error {
	if f.IsAck() {
		return nil
	}
	err := f.ForeachSetting(func(v http2.Setting) error {
		switch v.ID {
		case http2.SettingMaxConcurrentStreams:
			c.most = v.Val
		case http2.SettingHeaderTableSize:
			c.encoder.SetMaxDynamicTableSizeLimit(v.Val)
		case http2.SettingInitialWindowSize:
			for _, s := range c.streams {
				s.window += int64(v.Val) - c.opening
				s.stir.Broadcast()
			}
			c.opening = int64(v.Val)
		}
		return v.Valid()
	})
	if err != nil {
		return err
	}
	return c.frames.WriteSettingsAck()
}

// takeGoAway: what the parent has begun with goes on, the rest it has not seen.
func (c *Cable) takeGoAway(f *http2.GoAwayFrame) {
	c.leaving = true
	for id, s := range c.streams {
		if id > f.LastStreamID {
			s.fail(fmt.Errorf("%w: %w", ErrUnasked, syscall.ECONNRESET))
			delete(c.streams, id)
		}
	}
	c.leave()
}

// takeHead takes an answer, the interim ones before it, or trailers.
func (s *Stream) takeHead(f *http2.MetaHeadersFrame) {
	status, err := strconv.Atoi(f.PseudoValue("status"))
	final := status >= 200
	switch {
	case s.head.Status != 0 && f.StreamEnded() && !s.ended: // trailers
	case s.head.Status != 0:
		s.abort(http2.ErrCodeProtocol, errFrame)
		return
	case f.Truncated:
		s.abort(http2.ErrCodeCancel, errLarge)
		return
	case err != nil || status < 100 || status > 599 || status == 101:
		s.abort(http2.ErrCodeProtocol, errStatus)
		return
	case !final && f.StreamEnded():
		s.abort(http2.ErrCodeProtocol, errEnds)
		return
	case !final:
		if s.interim++; s.interim > maxInterim {
			s.abort(http2.ErrCodeCancel, errInterim)
		}
		return
	default:
		s.head.Status = status
		for _, field := range f.RegularFields() {
			s.head.Fields = append(s.head.Fields, wire.Field{Name: []byte(field.Name), Value: []byte(field.Value)})
		}
	}
	if f.StreamEnded() {
		s.end()
	}
	s.stir.Broadcast()
}

// takeReset: after its end it only says that the parent will not read.
func (s *Stream) takeReset(code http2.ErrCode) {
	delete(s.c.streams, s.id)
	why := error(syscall.ECONNRESET)
	if s.ended {
		why = syscall.EPIPE
	}
	if s.head.Status == 0 {
		switch code {
		case http2.ErrCodeRefusedStream:
			why = ErrUnasked
		case http2.ErrCodeHTTP11Required:
			why = ErrOld
		case http2.ErrCodeConnect:
			why = ErrTarget
		}
	}
	s.fail(fmt.Errorf("the parent has reset the stream: %s: %w", code, why))
	s.c.forget(s)
}
