package cable_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"viaduct/cable"
	"viaduct/fault"
	"viaduct/wire"
)

// TestGarbageOnACable: none of it hangs, or is taken for a tunnel.
func TestGarbageOnACable(t *testing.T) {
	for _, tt := range []struct {
		name string
		play func(s *raw)
		kind fault.Kind
	}{
		{"the end", func(s *raw) { s.connect() }, fault.ConnectionTerminated},
		{"no frame", func(s *raw) {
			s.connect()
			_, _ = io.WriteString(s.c, strings.Repeat("HTTP/1.1 200 OK\r\n", 100))
			s.drain()
		}, fault.ProtocolError},
		{"no status", func(s *raw) { s.answer(s.connect(), ""); s.drain() }, fault.ProtocolError},
		{"status 20", func(s *raw) { s.answer(s.connect(), "20"); s.drain() }, fault.ProtocolError},
		{"status 101", func(s *raw) { s.answer(s.connect(), "101"); s.drain() }, fault.ProtocolError},
		{"status 600", func(s *raw) { s.answer(s.connect(), "600"); s.drain() }, fault.ProtocolError},
		{"a field in capitals", func(s *raw) { s.answer(s.connect(), "200", "X-Y", "z"); s.drain() }, fault.ProtocolError},
		{"an interim end", func(s *raw) { s.head(s.connect(), "103", true); s.drain() }, fault.ProtocolError},
		{"interim answers without end", func(s *raw) {
			id := s.connect()
			for range 100 {
				s.answer(id, "103")
			}
			s.drain()
		}, fault.ProtocolError},
		{"bytes before the answer", func(s *raw) { s.data(s.connect(), false, "x"); s.drain() }, fault.ProtocolError},
		{"a large head", func(s *raw) {
			s.answer(s.connect(), "200", "x", strings.Repeat("y", 15<<10), "z", strings.Repeat("y", 1<<10))
			s.drain()
		}, fault.ResponseHeaderSize},
		{"a push", func(s *raw) {
			id := s.connect()
			_ = s.WritePushPromise(http2.PushPromiseParam{StreamID: id, PromiseID: 2, BlockFragment: []byte{0x82}, EndHeaders: true})
			s.drain()
		}, fault.ProtocolError},
		{"a stream that nobody opened", func(s *raw) { s.answer(s.connect()+2, "200"); s.drain() }, fault.ProtocolError},
		{"a window without end", func(s *raw) {
			id := s.connect()
			_ = s.WriteWindowUpdate(id, 1<<31-1)
			s.drain()
		}, fault.ProtocolError},
		{"bad settings", func(s *raw) {
			s.connect()
			_ = s.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 31})
			s.drain()
		}, fault.ProtocolError},
		{"a reset", func(s *raw) { _ = s.WriteRSTStream(s.connect(), http2.ErrCodeInternal); s.drain() }, fault.ConnectionTerminated},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := ask(t, lay(t, calm, rawServer(tt.play)), "a:1")
			head, err := s.Answer(bounded(t))
			if k := fault.ClassifyPeer(err, fault.ConnectionTerminated); err == nil || k != tt.kind || head.Status != 0 {
				t.Errorf("%d %v: %v, want %v", head.Status, err, k, tt.kind)
			}
			if _, err := s.Read(make([]byte, 1)); err == nil || err == io.EOF {
				t.Errorf("it can be read from: %v", err)
			}
		})
	}
}

// TestNoFirstWords: it is found out before anything is asked, and the connection
// stays the caller's.
func TestNoFirstWords(t *testing.T) {
	for name, play := range map[string]func(net.Conn){
		"text":        func(c net.Conn) { _, _ = io.WriteString(c, "HTTP/1.1 400 Bad Request\r\n\r\n"); quiet(c) },
		"no settings": func(c net.Conn) { _ = http2.NewFramer(c, c).WritePing(false, [8]byte{}); quiet(c) },
		"an ack":      func(c net.Conn) { _ = http2.NewFramer(c, c).WriteSettingsAck(); quiet(c) },
		"the end":     func(net.Conn) {},
		"silence":     quiet,
	} {
		t.Run(name, func(t *testing.T) {
			nc := dial(t, play)
			_ = nc.SetDeadline(time.Now().Add(4 * short))
			if c, err := cable.New(nc, calm); err == nil || c != nil {
				t.Error(c, err)
			}
			if err := nc.SetDeadline(time.Time{}); errors.Is(err, net.ErrClosed) {
				t.Error(err)
			}
		})
	}
}

// TestRequest: what is asked for arrives, a head of several frames too.
func TestRequest(t *testing.T) {
	asked := make(chan *http.Request, 1)
	k := serves(t, calm, func(w http.ResponseWriter, r *http.Request) {
		asked <- r
		w.Header().Set("X-Y", "z")
		w.WriteHeader(http.StatusCreated)
		_, _ = io.WriteString(w, "welcome")
	})
	long := strings.Repeat("v", 40<<10)
	s, _ := k.Ask(cable.Request{Target: "[2001:db8::1]:22", Login: "Basic dTpw", Via: long})
	defer s.Close()
	head, err := s.Answer(bounded(t))
	if err != nil || head.Status != 201 || field(head, "x-y") != "z" {
		t.Error(head.Status, err)
	}
	if b, err := io.ReadAll(s); string(b) != "welcome" || err != nil {
		t.Errorf("%q %v", b, err)
	}
	r := <-asked
	if got := fmt.Sprint(r.Method, r.Host, r.URL.Path, r.Header); got != "CONNECT[2001:db8::1]:22map[Proxy-Authorization:[Basic dTpw] Via:["+long+"]]" {
		t.Errorf("%.100s", got)
	}
}

// TestCredentialsStayOutOfTheTables: of the compression, which attackers measure.
func TestCredentialsStayOutOfTheTables(t *testing.T) {
	secret := make(chan []string, 1)
	k := lay(t, calm, rawServer(func(s *raw) {
		f, err := s.ReadFrame()
		for ; err == nil; f, err = s.ReadFrame() {
			if h, ok := f.(*http2.MetaHeadersFrame); ok {
				var names []string
				for _, field := range h.Fields {
					if field.Sensitive {
						names = append(names, field.Name)
					}
				}
				secret <- names
			}
		}
	}))
	for range 2 {
		s, _ := k.Ask(cable.Request{Target: "a:1", Login: "Basic dTpw", Via: "x"})
		if got := <-secret; !slices.Equal(got, []string{"proxy-authorization"}) {
			t.Error(got)
		}
		_ = s.Close()
	}
}

// field is the value of the first field of a name, as it came.
func field(h wire.Head, name string) string {
	for _, f := range h.Fields {
		if string(f.Name) == name {
			return string(f.Value)
		}
	}
	return ""
}

// TestRefusal: its head is told, its body is not waited for, and the next tunnel
// is none the worse.
func TestRefusal(t *testing.T) {
	k := serves(t, calm, func(w http.ResponseWriter, r *http.Request) {
		if r.Host == "good:1" {
			echoes(w, r)
			return
		}
		w.Header().Set("Proxy-Status", "p; error=connection_refused")
		w.WriteHeader(http.StatusBadGateway)
		_, _ = w.Write(make([]byte, 10_000))
	})
	s := ask(t, k, "bad:1")
	head, err := s.Answer(bounded(t))
	if err != nil || head.Status != 502 || field(head, "proxy-status") != "p; error=connection_refused" {
		t.Error(head.Status, err)
	}
	if _, err := s.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
		t.Error(err)
	}
	passes(t, open(t, k, "good:1"))
}

// TestNoAnswer: why there is none, where that is for the asker to know.
func TestNoAnswer(t *testing.T) {
	resets := func(code http2.ErrCode) func(*raw) {
		return func(s *raw) { _ = s.WriteRSTStream(s.connect(), code); s.drain() }
	}
	for name, tt := range map[string]struct {
		play func(*raw)
		want error
	}{
		"refused":       {resets(http2.ErrCodeRefusedStream), cable.ErrUnasked},
		"goaway":        {func(s *raw) { s.connect(); _ = s.WriteGoAway(0, http2.ErrCodeNo, nil); s.drain() }, cable.ErrUnasked},
		"HTTP/1.1":      {resets(http2.ErrCodeHTTP11Required), cable.ErrOld},
		"target":        {resets(http2.ErrCodeConnect), cable.ErrTarget},
		"another reset": {resets(http2.ErrCodeCancel), syscall.ECONNRESET},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := ask(t, lay(t, calm, rawServer(tt.play)), "a:1").Answer(bounded(t))
			if !errors.Is(err, tt.want) {
				t.Error(err)
			}
		})
	}
}

// TestAnswerThatNobodyWaitsFor: the stream is reset, and the connection gets no
// more until something is heard of it.
func TestAnswerThatNobodyWaitsFor(t *testing.T) {
	code, wake := make(chan string, 1), make(chan struct{})
	k := lay(t, calm, rawServer(func(s *raw) {
		code <- s.until(s.connect())
		<-wake
		s.echoRaw()
	}))
	ctx, cancel := context.WithTimeout(t.Context(), short)
	defer cancel()
	_, err := ask(t, k, "a:1").Answer(ctx)
	if !errors.Is(err, cable.ErrSilent) || !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	if got := <-code; got != "CANCEL" {
		t.Error(got)
	}
	if s, over := k.Ask(cable.Request{Target: "a:1"}); s != nil || over {
		t.Error(s, over)
	}
	close(wake)
	eventually(t, func() bool {
		s, over := k.Ask(cable.Request{Target: "a:1"})
		if s != nil {
			_ = s.Close()
		}
		return s != nil || over
	})
	passes(t, open(t, k, "a:1"))
}

// TestNoMoreThanTheParentTakes: until one has ended.
func TestNoMoreThanTheParentTakes(t *testing.T) {
	k := lay(t, calm, rawServer(func(s *raw) {
		_ = s.WriteSettings(http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: 2})
		s.echoRaw()
	}))
	first := open(t, k, "a:1")
	passes(t, open(t, k, "a:1"))
	if s, over := k.Ask(cable.Request{Target: "a:1"}); s != nil || over {
		t.Error(s, over)
	}
	_ = first.Close()
	passes(t, open(t, k, "a:1"))
}

// TestGoAwayLeavesTunnelsAlone: there are no new ones, and the connection ends
// with the last.
func TestGoAwayLeavesTunnelsAlone(t *testing.T) {
	ended := make(chan struct{})
	k := lay(t, calm, rawServer(func(s *raw) {
		defer close(ended)
		id := s.connect()
		s.answer(id, "200")
		_ = s.WriteGoAway(id, http2.ErrCodeNo, nil)
		s.data(id, false, "leaving")
		s.echoRaw()
	}))
	c := open(t, k, "a:1")
	said(t, c, "leaving")
	if s, over := k.Ask(cable.Request{Target: "a:1"}); s != nil || !over {
		t.Error(s, over)
	}
	passes(t, c)
	_ = c.Close()
	<-ended
}

// TestParentThatVanishes: an end of the connection is no end of its tunnels.
func TestParentThatVanishes(t *testing.T) {
	for name, end := range map[string]func(net.Conn){
		"in good order": func(c net.Conn) { _ = c.Close() },
		"at once":       func(c net.Conn) { _ = socket(c).SetLinger(0); _ = socket(c).Close() },
		"in a frame":    func(c net.Conn) { _, _ = c.Write([]byte{0, 4, 0, 0, 0}); _ = socket(c).Close() },
	} {
		t.Run(name, func(t *testing.T) {
			k := lay(t, calm, rawServer(func(s *raw) {
				s.answer(s.connect(), "200")
				s.data(1, false, "hello")
				s.answer(s.connect(), "200")
				end(s.c)
			}))
			c := open(t, k, "a:1")
			said(t, c, "hello")
			for _, c := range []net.Conn{c, open(t, k, "a:1")} {
				n, err := c.Read(make([]byte, 1))
				if n > 0 || err == nil || err == io.EOF || fault.Classify(err) != fault.ConnectionTerminated {
					t.Errorf("%d %v", n, err)
				}
				if _, err := c.Write([]byte("x")); err == nil {
					t.Error("it can still be written to")
				}
			}
			if s, over := k.Ask(cable.Request{Target: "a:1"}); s != nil || !over {
				t.Error(s, over)
			}
		})
	}
}

// TestParentThatIsSilent: a black hole is noticed while tunnels wait.
func TestParentThatIsSilent(t *testing.T) {
	k := lay(t, cable.Bounds{Quiet: short, Pong: 4 * short, Idle: time.Hour}, rawServer(func(s *raw) {
		s.answer(s.connect(), "200")
		quiet(s.c)
	}))
	if _, err := open(t, k, "a:1").Read(make([]byte, 1)); !errors.Is(err, syscall.ETIMEDOUT) {
		t.Error(err)
	}
}

// TestQuietParentThatLives: silence alone ends nothing.
func TestQuietParentThatLives(t *testing.T) {
	k := lay(t, cable.Bounds{Quiet: short / 2, Pong: 40 * short, Idle: short / 2}, rawServer((*raw).echoRaw))
	c := open(t, k, "a:1")
	_ = c.SetReadDeadline(time.Now().Add(6 * short))
	if _, err := c.Read(make([]byte, 1)); errors.Is(err, syscall.ETIMEDOUT) || err == nil {
		t.Error(err)
	}
	passes(t, c)
}

// TestIdleCableEnds: after its time, or when it is retired.
func TestIdleCableEnds(t *testing.T) {
	ended := make(chan struct{}, 3)
	play := func(c net.Conn) { rawServer((*raw).echoRaw)(c); ended <- struct{}{} }
	k := lay(t, cable.Bounds{Quiet: short, Pong: 40 * short, Idle: short}, play)
	_ = open(t, k, "a:1").Close()
	<-ended
	k = lay(t, calm, play)
	_ = open(t, k, "a:1").Close()
	k.Retire()
	<-ended
	k = lay(t, calm, play)
	c := open(t, k, "a:1")
	k.Retire()
	passes(t, c)
	_ = c.Close()
	<-ended
	if s, over := k.Ask(cable.Request{Target: "a:1"}); s != nil || !over {
		t.Error(s, over)
	}
}

// TestFloodOfQuestions: a parent that asks and does not listen is left.
func TestFloodOfQuestions(t *testing.T) {
	k := lay(t, calm, rawServer(func(s *raw) {
		s.answer(s.connect(), "200")
		for s.WritePing(false, [8]byte{}) == nil {
		}
	}))
	_, err := open(t, k, "a:1").Read(make([]byte, 1))
	if err == nil || err == io.EOF {
		t.Error(err)
	}
}

// TestWindowsAreKept: what comes beyond them is not kept in memory.
func TestWindowsAreKept(t *testing.T) {
	code := make(chan string, 1)
	k := lay(t, calm, rawServer(func(s *raw) {
		id := s.connect()
		s.answer(id, "200")
		for range 33 {
			s.data(id, false, strings.Repeat("x", 16<<10))
		}
		code <- s.until(id)
		s.drain()
	}))
	c := open(t, k, "a:1")
	if got := <-code; got != "FLOW_CONTROL_ERROR" {
		t.Error(got)
	}
	if n, err := io.Copy(io.Discard, c); n != 512<<10 || fault.Classify(err) != fault.ProtocolError {
		t.Error(n, err)
	}
}

// TestWindowOfTheParent: no byte more is sent than it has room for, when it
// makes that smaller, too.
func TestWindowOfTheParent(t *testing.T) {
	got := make(chan string, 1)
	k := lay(t, calm, rawServer(func(s *raw) {
		id := s.connect()
		_ = s.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 10})
		_ = s.WritePing(false, [8]byte{1})
		for {
			f, err := s.ReadFrame()
			if p, ok := f.(*http2.PingFrame); err != nil || ok && p.IsAck() {
				break
			}
		}
		s.answer(id, "200")
		_ = s.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 4})
		_ = s.WriteWindowUpdate(id, 3)
		_ = s.WriteWindowUpdate(id, 6)
		got <- s.until(id)
		s.drain()
	}))
	c := open(t, k, "a:1")
	if _, err := io.WriteString(c, "0123456789abc"); err != nil {
		t.Fatal(err)
	}
	closeWrite(t, c)
	if s := <-got; s != "0123456789abc" {
		t.Error(s)
	}
}
