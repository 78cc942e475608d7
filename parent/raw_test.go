package parent_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"viaduct/fault"
	"viaduct/parent"
)

// raw is a parent that is written frame by frame.
type raw struct {
	*http2.Framer
	c       net.Conn
	out     bytes.Buffer
	encoder *hpack.Encoder
}

// rawServer plays after the first words.
func rawServer(play func(*raw)) func(net.Conn) {
	return func(c net.Conn) {
		b := make([]byte, len(http2.ClientPreface))
		if _, err := io.ReadFull(c, b); err != nil || string(b) != http2.ClientPreface {
			return
		}
		s := &raw{Framer: http2.NewFramer(c, c), c: c}
		s.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
		s.AllowIllegalWrites = true
		s.encoder = hpack.NewEncoder(&s.out)
		_ = s.WriteSettings()
		play(s)
	}
}

// connect is the stream of the next CONNECT; 0 at the end.
func (s *raw) connect() uint32 {
	for {
		f, err := s.ReadFrame()
		if err != nil {
			return 0
		}
		if h, ok := f.(*http2.MetaHeadersFrame); ok {
			return h.StreamID
		}
	}
}

func (s *raw) answer(id uint32, status string, more ...string) {
	s.out.Reset()
	_ = s.encoder.WriteField(hpack.HeaderField{Name: ":status", Value: status})
	for i := 0; i < len(more); i += 2 {
		_ = s.encoder.WriteField(hpack.HeaderField{Name: more[i], Value: more[i+1]})
	}
	_ = s.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: s.out.Bytes(), EndHeaders: true})
}

func (s *raw) data(id uint32, end bool, text string) { _ = s.WriteData(id, end, []byte(text)) }

// drain answers what must be answered, until the other side leaves.
func (s *raw) drain() {
	for {
		f, err := s.ReadFrame()
		if err != nil {
			return
		}
		if p, ok := f.(*http2.PingFrame); ok && !p.IsAck() {
			_ = s.WritePing(true, p.Data)
		}
	}
}

// echoRaw answers all that comes.
func (s *raw) echoRaw() {
	for {
		f, err := s.ReadFrame()
		if err != nil {
			return
		}
		switch f := f.(type) {
		case *http2.MetaHeadersFrame:
			s.answer(f.StreamID, "200")
		case *http2.DataFrame:
			_ = s.WriteData(f.StreamID, f.StreamEnded(), f.Data())
		case *http2.PingFrame:
			if !f.IsAck() {
				_ = s.WritePing(true, f.Data)
			}
		}
	}
}

// TestErrorsOfACable: whatever breaks it, it was the parent.
func TestErrorsOfACable(t *testing.T) {
	for _, tt := range []struct {
		name string
		play func(s *raw)
		kind fault.Kind
	}{
		{"the end", func(s *raw) { s.connect() }, fault.ConnectionTerminated},
		{"no status", func(s *raw) { s.answer(s.connect(), ""); s.drain() }, fault.ProtocolError},
		{"interim answers without end", func(s *raw) {
			id := s.connect()
			for range 100 {
				s.answer(id, "103")
			}
			s.drain()
		}, fault.ProtocolError},
		{"bad settings", func(s *raw) {
			s.connect()
			_ = s.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 31})
			s.drain()
		}, fault.ProtocolError},
		{"a large head", func(s *raw) {
			s.answer(s.connect(), "200", "x", strings.Repeat("y", 15<<10), "z", strings.Repeat("y", 1<<10))
			s.drain()
		}, fault.ResponseHeaderSize},
		{"a reset", func(s *raw) { _ = s.WriteRSTStream(s.connect(), http2.ErrCodeInternal); s.drain() }, fault.ConnectionTerminated},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, _, err := newExchange(t, rawServer(tt.play), "h2").trunk(t).Tunnel(bounded(t), "a:1", "")
			if c != nil {
				t.Errorf("%T", c)
			}
			judged(t, err, tt.kind, 502, parent.Parent)
		})
	}
}

// TestNoHTTP2AtAll: it is found out before anything was asked.
func TestNoHTTP2AtAll(t *testing.T) {
	for name, play := range map[string]func(net.Conn){
		"text":     func(c net.Conn) { _, _ = io.WriteString(c, "HTTP/1.1 400 Bad Request\r\n\r\n"); quiet(c) },
		"no hello": func(c net.Conn) { _ = http2.NewFramer(c, c).WritePing(false, [8]byte{}); quiet(c) },
		"the end":  func(net.Conn) {},
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := newExchange(t, play, "h2").trunk(t).Tunnel(bounded(t), "a:1", "")
			if k := fault.Classify(err); parent.Blame(err) != parent.Parent || k != fault.ProtocolError && k != fault.ConnectionTerminated {
				t.Errorf("%v: %v", k, err)
			}
		})
	}
	ctx, cancel := context.WithTimeout(t.Context(), short)
	defer cancel()
	_, _, err := newExchange(t, quiet, "h2").trunk(t).Tunnel(ctx, "a:1", "")
	judged(t, err, fault.ConnectionTimeout, 504, parent.Parent)
}

// TestWhatTheParentHasNotSeenIsAskedAgain: on another connection.
func TestWhatTheParentHasNotSeenIsAskedAgain(t *testing.T) {
	for name, first := range map[string]func(*raw){
		"refused": func(s *raw) { _ = s.WriteRSTStream(s.connect(), http2.ErrCodeRefusedStream) },
		"goaway":  func(s *raw) { s.connect(); _ = s.WriteGoAway(0, http2.ErrCodeNo, nil) },
	} {
		t.Run(name, func(t *testing.T) {
			asked := make(chan struct{}, 1)
			x := newExchange(t, rawServer(func(s *raw) {
				select {
				case asked <- struct{}{}:
					first(s)
				default:
				}
				s.echoRaw()
			}), "h2")
			passes(t, open(t, x.trunk(t), "a:1"))
		})
	}
}

func TestParentThatTakesNoTunnels(t *testing.T) {
	for name, play := range map[string]func(*raw){
		"refuses": func(s *raw) {
			for id := s.connect(); id > 0; id = s.connect() {
				_ = s.WriteRSTStream(id, http2.ErrCodeRefusedStream)
			}
		},
		"goes": func(s *raw) { s.connect(); _ = s.WriteGoAway(0, http2.ErrCodeNo, nil); s.drain() },
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := newExchange(t, rawServer(play), "h2").trunk(t).Tunnel(bounded(t), "a:1", "")
			judged(t, err, fault.DestinationUnavailable, 502, parent.Parent)
		})
	}
}

// TestTargetThatFails: RFC 9113 section 8.5 has a code of its own for it.
func TestTargetThatFails(t *testing.T) {
	x := newExchange(t, rawServer(func(s *raw) { _ = s.WriteRSTStream(s.connect(), http2.ErrCodeConnect); s.drain() }), "h2")
	_, _, err := x.trunk(t).Tunnel(bounded(t), "a:1", "")
	judged(t, err, fault.DestinationUnavailable, 502, parent.Target)
}

// TestParentThatWantsHTTP1: it is asked so, from then on.
func TestParentThatWantsHTTP1(t *testing.T) {
	x := newExchange(t, func(c net.Conn) {
		if secured(c) == "http/1.1" {
			connectsTo(c)
			return
		}
		rawServer(func(s *raw) { _ = s.WriteRSTStream(s.connect(), http2.ErrCodeHTTP11Required); s.drain() })(c)
	}, "h2", "http/1.1")
	k := x.trunk(t)
	for range 3 {
		passes(t, open(t, k, "a:1"))
	}
	if n := x.dials.Load(); n != 4 {
		t.Errorf("%d connections", n)
	}
}

// TestGoAwayLeavesTunnelsAlone: new ones go elsewhere, and the connection ends
// with the last.
func TestGoAwayLeavesTunnelsAlone(t *testing.T) {
	ended := make(chan struct{}, 2)
	x := newExchange(t, rawServer(func(s *raw) {
		defer func() { ended <- struct{}{} }()
		id := s.connect()
		s.answer(id, "200")
		_ = s.WriteGoAway(id, http2.ErrCodeNo, nil)
		s.data(id, false, "leaving")
		s.echoRaw()
	}), "h2")
	k := x.trunk(t)
	old := open(t, k, "a:1")
	said(t, old, "leaving")
	other := open(t, k, "a:1")
	said(t, other, "leaving")
	if n := x.dials.Load(); n != 2 {
		t.Errorf("%d connections", n)
	}
	passes(t, old)
	_ = old.Close()
	<-ended
	passes(t, other)
}

func said(t testing.TB, c net.Conn, want string) {
	t.Helper()
	b := make([]byte, len(want))
	if _, err := io.ReadFull(c, b); err != nil || string(b) != want {
		t.Fatalf("%q %v", b, err)
	}
}

// TestTrunkOutlivesItsCables: a tunnel after the end of one gets another.
func TestTrunkOutlivesItsCables(t *testing.T) {
	x := newExchange(t, rawServer(func(s *raw) {
		s.answer(s.connect(), "200")
		s.data(1, false, "hello")
	}), "h2")
	k := x.trunk(t)
	for range 3 {
		c := open(t, k, "a:1")
		said(t, c, "hello")
		if _, err := c.Read(make([]byte, 1)); fault.Classify(err) != fault.ConnectionTerminated {
			t.Error(err)
		}
	}
	if n := x.dials.Load(); n != 3 {
		t.Errorf("%d connections", n)
	}
}

// TestParentThatIsSilent: a black hole is noticed while tunnels wait, and gets no
// new ones meanwhile.
func TestParentThatIsSilent(t *testing.T) {
	holes := make(chan struct{}, 1)
	x := newExchange(t, rawServer(func(s *raw) {
		select {
		case holes <- struct{}{}:
			s.answer(s.connect(), "200")
			quiet(s.c)
		default:
			s.echoRaw()
		}
	}), "h2")
	k := x.trunk(t)
	k.Hurry(4*short, 20*short, time.Minute)
	c := open(t, k, "a:1")
	ctx, cancel := context.WithTimeout(t.Context(), short)
	defer cancel()
	_, _, err := k.Tunnel(ctx, "a:1", "")
	judged(t, err, fault.ConnectionTimeout, 504, parent.Unclear)
	passes(t, open(t, k, "a:1")) // not on the same
	_, err = c.Read(make([]byte, 1))
	if !errors.Is(err, syscall.ETIMEDOUT) {
		t.Error(err)
	}
}

// TestCableEndsWithItsTrunk: a tunnel on it first.
func TestCableEndsWithItsTrunk(t *testing.T) {
	ended := make(chan struct{}, 2)
	x := newExchange(t, func(c net.Conn) { rawServer((*raw).echoRaw)(c); ended <- struct{}{} }, "h2")
	k := x.trunk(t)
	_ = open(t, k, "a:1").Close()
	k.Close()
	<-ended
	k = x.trunk(t)
	c := open(t, k, "a:1")
	k.Close()
	passes(t, c)
	_ = c.Close()
	<-ended
	c = open(t, k, "a:1") // after Close
	passes(t, c)
	_ = c.Close()
	<-ended
}

// secured is what was agreed on.
func secured(c net.Conn) string { return c.(*tls.Conn).ConnectionState().NegotiatedProtocol }

// connectsTo is a parent of HTTP/1.1 before an echo.
func connectsTo(c net.Conn) {
	if _, err := readHead(c); err != nil {
		return
	}
	_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\n")
	echo(c)
}
