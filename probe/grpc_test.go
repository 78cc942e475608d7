package probe_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"

	"viaduct/probe"
)

const (
	serving    = grpc_health_v1.HealthCheckResponse_SERVING
	notServing = grpc_health_v1.HealthCheckResponse_NOT_SERVING
)

// genuine is a server of the real library, with its health service.
type genuine struct {
	*health.Server
	server *grpc.Server
	addr   string
}

func newGenuine(t *testing.T, cert *tls.Certificate) genuine {
	t.Helper()
	var options []grpc.ServerOption
	if cert != nil {
		options = append(options, grpc.Creds(credentials.NewServerTLSFromCert(cert)))
	}
	r := genuine{Server: health.NewServer(), server: grpc.NewServer(options...)}
	grpc_health_v1.RegisterHealthServer(r.server, r.Server)
	r.addr = start(t, r.server)
	return r
}

func start(t *testing.T, s *grpc.Server) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(l) }()
	t.Cleanup(func() {
		s.Stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return l.Addr().String()
}

// both runs a test against the real library, in the clear and over TLS.
func both(t *testing.T, test func(*testing.T, genuine, probe.Check)) {
	t.Helper()
	t.Run("h2c", func(t *testing.T) { test(t, newGenuine(t, nil), probe.Check{Kind: probe.GRPC}) })
	t.Run("tls", func(t *testing.T) {
		cert, client := trusted(t)
		test(t, newGenuine(t, &cert), probe.Check{Kind: probe.GRPC, Secure: true, TLS: client})
	})
}

func TestGRPCCheck(t *testing.T) {
	both(t, func(t *testing.T, s genuine, c probe.Check) {
		s.SetServingStatus("shop.Cart", notServing)
		for _, tt := range []struct {
			service   string
			word      probe.Word
			note, err string
		}{
			{"", probe.SaysUp, "SERVING", ""},
			{"shop.Cart", probe.SaysDown, "NOT_SERVING", "the server says NOT_SERVING"},
			{"shop.Nothing", probe.SaysDown, "", "no such service: grpc status 5: unknown service"},
		} {
			c.Service = tt.service
			r := run(t, c, s.addr)
			if tt.err == "" {
				passes(t, r)
			} else {
				fails(t, r, tt.err)
			}
			if r.Word != tt.word || r.Note != tt.note {
				t.Errorf("%q: %+v", tt.service, r)
			}
		}
		s.SetServingStatus("shop.Cart", serving)
		c.Service = "shop.Cart"
		passes(t, run(t, c, s.addr))
	})
}

func TestGRPCOnAUnixSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	s := grpc.NewServer()
	grpc_health_v1.RegisterHealthServer(s, health.NewServer())
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(l) }()
	passes(t, run(t, probe.Check{Kind: probe.GRPC}, path))
	s.Stop()
	<-ended
}

func TestGRPCUnimplemented(t *testing.T) {
	addr := start(t, grpc.NewServer())
	c := probe.Check{Kind: probe.GRPC}
	if r := run(t, c, addr); !errors.Is(r.Err, probe.ErrUnimplemented) || r.Word != probe.NoWord {
		t.Errorf("%+v", r)
	}
	err := c.WatchRun(t.Context(), probe.Endpoint{Addr: addr}, func(r probe.Result) { t.Errorf("told %+v", r) })
	if !errors.Is(err, probe.ErrUnimplemented) {
		t.Errorf("error %v", err)
	}
}

// watch runs a watch whose results come on a channel, and its error.
func watch(ctx context.Context, c probe.Check, addr string) (<-chan probe.Result, <-chan error) {
	told, ended := make(chan probe.Result), make(chan error, 1)
	go func() {
		ended <- c.WatchRun(ctx, probe.Endpoint{Addr: addr}, func(r probe.Result) {
			select {
			case told <- r:
			case <-ctx.Done():
			}
		})
	}()
	return told, ended
}

// next wants a note to be told.
func next(t *testing.T, told <-chan probe.Result, ended <-chan error, note string) {
	t.Helper()
	select {
	case r := <-told:
		if good := note == "SERVING"; r.Note != note || (r.Err == nil) != good || (r.Word == probe.SaysUp) != good {
			t.Errorf("told %+v, want %s", r, note)
		}
	case err := <-ended:
		t.Fatalf("the watch ended with %v before %s", err, note)
	case <-time.After(patience):
		t.Fatalf("%s was not told", note)
	}
}

func TestGRPCWatchTellsChanges(t *testing.T) {
	both(t, func(t *testing.T, s genuine, c probe.Check) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		c.Service, c.Timeout = "shop.Cart", patience
		told, ended := watch(ctx, c, s.addr)
		next(t, told, ended, "SERVICE_UNKNOWN")
		for range 3 {
			s.SetServingStatus("shop.Cart", serving)
			next(t, told, ended, "SERVING")
			s.SetServingStatus("shop.Cart", notServing)
			next(t, told, ended, "NOT_SERVING")
		}
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("error %v", err)
		}
	})
}

func TestGRPCWatchOutlivesItsTimeout(t *testing.T) {
	t.Parallel() // it waits
	const timeout = 2 * time.Second
	s := newGenuine(t, nil)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	told, ended := watch(ctx, probe.Check{Kind: probe.GRPC, Timeout: timeout}, s.addr)
	next(t, told, ended, "SERVING")
	select {
	case err := <-ended:
		t.Fatalf("the watch ended with %v", err)
	case <-time.After(timeout + short):
	}
	s.Shutdown()
	next(t, told, ended, "NOT_SERVING")
}

func TestGRPCWatchEndsWithItsServer(t *testing.T) {
	s := newGenuine(t, nil)
	told, ended := watch(t.Context(), probe.Check{Kind: probe.GRPC}, s.addr)
	next(t, told, ended, "SERVING")
	s.server.Stop()
	select {
	case err := <-ended:
		if err == nil || errors.Is(err, probe.ErrUnimplemented) {
			t.Errorf("error %v", err)
		}
	case <-time.After(patience):
		t.Fatal("it goes on")
	}
}

func TestGRPCWatchWaitsNotForEverForItsFirstWord(t *testing.T) {
	silent := h2(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/grpc")
		http.NewResponseController(w).Flush()
		<-r.Context().Done()
	})
	for _, addr := range []string{silent, peer(t, hang)} {
		err := probe.Check{Kind: probe.GRPC, Timeout: short}.WatchRun(t.Context(), probe.Endpoint{Addr: addr}, func(r probe.Result) { t.Errorf("told %+v", r) })
		if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "no word in time") {
			t.Errorf("error %v", err)
		}
	}
}

func TestOnlyGRPCIsWatched(t *testing.T) {
	if err := (probe.Check{}).WatchRun(t.Context(), probe.Endpoint{}, nil); err == nil {
		t.Error("no error")
	}
}

// h2 is a server of HTTP/2 in the clear.
func h2(t *testing.T, handle http.HandlerFunc) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: handle, Protocols: new(http.Protocols)}
	s.Protocols.SetUnencryptedHTTP2(true)
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(l) }()
	t.Cleanup(func() {
		s.Close()
		<-ended
	})
	return l.Addr().String()
}

// answers is a server that sends a body, and trailers behind it.
func answers(t *testing.T, body string, trailers ...string) string {
	t.Helper()
	return h2(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/grpc")
		w.WriteHeader(http.StatusOK)
		w.Write([]byte(body))
		http.NewResponseController(w).Flush()
		for i := 0; i < len(trailers); i += 2 {
			w.Header().Set(http.TrailerPrefix+trailers[i], trailers[i+1])
		}
	})
}

func TestGRPCHostileAnswers(t *testing.T) {
	const good = "\x00\x00\x00\x00\x02\x08\x01"
	for _, tt := range []struct {
		name, body string
		trailers   []string
		want       string
	}{
		{"good", good, []string{"Grpc-Status", "0"}, ""},
		{"other fields", "\x00\x00\x00\x00\x08\x12\x02hi\x08\x01\x18\x05", []string{"Grpc-Status", "0"}, ""},
		{"the last counts", "\x00\x00\x00\x00\x04\x08\x01\x08\x02", []string{"Grpc-Status", "0"}, "NOT_SERVING"},
		{"no field", "\x00\x00\x00\x00\x00", []string{"Grpc-Status", "0"}, "the server says UNKNOWN"},
		{"status of tomorrow", "\x00\x00\x00\x00\x02\x08\x63", []string{"Grpc-Status", "0"}, "ServingStatus 99"},
		{"negative", "\x00\x00\x00\x00\x0b\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", []string{"Grpc-Status", "0"}, "ServingStatus 1844"},
		{"no status", good, nil, "without a grpc-status"},
		{"an error behind it", good, []string{"Grpc-Status", "14", "Grpc-Message", "a%20b%1b"}, "grpc status 14: a b?"},
		{"an odd status", good, []string{"Grpc-Status", "x\x80"}, "grpc status x"},
		{"no message", "", []string{"Grpc-Status", "0"}, "without a message"},
		{"two messages", good + good, []string{"Grpc-Status", "0"}, "more than one message"},
		{"half a frame", "\x00\x00\x00", []string{"Grpc-Status", "0"}, "unexpected EOF"},
		{"half a message", "\x00\x00\x00\x00\x02\x08", []string{"Grpc-Status", "0"}, "unexpected EOF"},
		{"frame alone", "\x00\x00\x00\x00\x02", []string{"Grpc-Status", "0"}, "unexpected EOF"},
		{"compressed", "\x01\x00\x00\x00\x02\x08\x01", []string{"Grpc-Status", "0"}, "compressed"},
		{"gigabytes promised", "\x00\xff\xff\xff\xff\x08\x01", []string{"Grpc-Status", "0"}, "a message of 4294967295 bytes"},
		{"no protobuf", "\x00\x00\x00\x00\x02\xff\xff", []string{"Grpc-Status", "0"}, "read the message: "},
		{"cut protobuf", "\x00\x00\x00\x00\x01\x08", []string{"Grpc-Status", "0"}, "read the message: "},
		{"HTML", "<html><body>hi</body></html>", nil, "compressed"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := run(t, probe.Check{Kind: probe.GRPC}, answers(t, tt.body, tt.trailers...))
			if tt.want == "" {
				passes(t, r)
			} else {
				fails(t, r, tt.want)
			}
		})
	}
}

func TestGRPCHeads(t *testing.T) {
	for _, tt := range []struct {
		name   string
		handle http.HandlerFunc
		want   string
		word   probe.Word
	}{
		{"not found", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(404) }, "does not implement", probe.NoWord},
		{"unavailable", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503) }, "no gRPC: status 503", probe.NoWord},
		{"a web page", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>") }, "type \"text/html", probe.NoWord},
		{"trailers alone", trailersAlone("12"), "does not implement", probe.NoWord},
		{"no such service", trailersAlone("5"), "no such service", probe.SaysDown},
		{"trailers alone, well", trailersAlone("0"), "without a message", probe.NoWord},
		{"a head too large", func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("X", strings.Repeat("x", 64<<10)) }, "", probe.NoWord},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := run(t, probe.Check{Kind: probe.GRPC}, h2(t, tt.handle))
			fails(t, r, tt.want)
			if r.Word != tt.word {
				t.Errorf("word %q", r.Word)
			}
		})
	}
}

func trailersAlone(status string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/grpc+proto")
		w.Header().Set("Grpc-Status", status)
	}
}

func TestGRPCRequest(t *testing.T) {
	got := make(chan *http.Request, 9)
	addr := h2(t, func(_ http.ResponseWriter, r *http.Request) {
		b := make([]byte, 99)
		n, _ := r.Body.Read(b)
		r.Header.Set("Body", string(b[:n]))
		got <- r
	})
	run(t, probe.Check{Kind: probe.GRPC, Service: "a.B", Host: "own.example"}, addr)
	r := <-got
	if r.Method != "POST" || r.URL.Path != "/grpc.health.v1.Health/Check" || r.Host != "own.example" || r.ProtoMajor != 2 {
		t.Errorf("sent %s %s to %s", r.Method, r.URL, r.Host)
	}
	if b := r.Header.Get("Body"); b != "\x00\x00\x00\x00\x05\x0a\x03a.B" {
		t.Errorf("sent %q", b)
	}
	if h := r.Header; h.Get("Te") != "trailers" || h.Get("Content-Type") != "application/grpc" || !strings.HasSuffix(h.Get("Grpc-Timeout"), "m") || h.Get("Accept-Encoding") != "" {
		t.Errorf("sent %v", h)
	}
}

func TestGRPCPeersThatSpeakSomethingElse(t *testing.T) {
	cert, client := trusted(t)
	c := probe.Check{Kind: probe.GRPC}
	for _, play := range []func(net.Conn){
		say("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"), say(""), reset, endless("", "x"),
	} {
		fails(t, run(t, c, peer(t, play)), "")
	}
	settings := endless("", "\x00\x00\x00\x04\x00\x00\x00\x00\x00")
	fails(t, runFor(t, short, c, probe.Endpoint{Addr: peer(t, settings)}), "")
	c.Secure, c.TLS = true, client
	fails(t, run(t, c, secure(t, &tls.Config{Certificates: []tls.Certificate{cert}}, hang)), "chose no h2")
}

// TestGRPCFloods: a watch takes in no more than a server has to say.
func TestGRPCFloods(t *testing.T) {
	for _, message := range []string{"\x00\x00\x00\x00\x02\x08\x01", "\x00\x00\x00\x00\x02\x08\x01\x00\x00\x00\x00\x02\x08\x02"} {
		addr := h2(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/grpc")
			for r.Context().Err() == nil {
				if _, err := w.Write([]byte(strings.Repeat(message, 500))); err != nil {
					return
				}
			}
		})
		told := 0
		err := probe.Check{Kind: probe.GRPC}.WatchRun(t.Context(), probe.Endpoint{Addr: addr}, func(probe.Result) { told++ })
		if err == nil || !strings.Contains(err.Error(), "more than 100 messages in a second") || told == 0 || told > 1000 {
			t.Errorf("told %d, error %v", told, err)
		}
		fails(t, run(t, probe.Check{Kind: probe.GRPC}, addr), "more than one message")
	}
}
