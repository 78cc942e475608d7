package auth_test

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"viaduct/auth"
)

// service is one that an External asks.
func service(t testing.TB, timeout time.Duration, answer http.HandlerFunc) (*auth.External, *httptest.Server) {
	t.Helper()
	s := httptest.NewUnstartedServer(answer)
	s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	s.Start()
	e := auth.NewExternal(auth.ExternalOptions{URL: s.URL + "/who?key=hidden", Timeout: timeout})
	t.Cleanup(s.Close)
	t.Cleanup(e.Close)
	return e, s
}

func credentials(user, password string) *auth.Credentials {
	return &auth.Credentials{Scheme: "basic", User: user, Password: password, Client: addr("::ffff:192.0.2.1")}
}

func TestExternalQuestion(t *testing.T) {
	e, _ := service(t, long, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		fmt.Fprint(w, "you are nobody")
		w.Header().Set("Remote-User", "too late")
		if r.Method != http.MethodGet || r.URL.String() != "/who?key=hidden" || len(body) != 0 {
			t.Errorf("%s %s %q", r.Method, r.URL, body)
		}
		want := http.Header{"Authorization": {"Basic am9lOmHDvDpi"}, "X-Forwarded-For": {"192.0.2.1"}}
		if fmt.Sprint(r.Header) != fmt.Sprint(want) {
			t.Errorf("%v", r.Header)
		}
	})
	id, err := e.Verify(t.Context(), credentials("joe", "aü:b"))
	if err != nil || id.User != "joe" || id.Groups != nil {
		t.Fatal(id, err)
	}
	if got, ok := e.Still(id); !ok || got != id {
		t.Error("not still")
	}
	if _, ok := auth.NewExternal(auth.ExternalOptions{URL: "http://another/"}).Still(id); ok {
		t.Error("of another service")
	}
	for _, id := range []*auth.Identity{nil, {User: "joe"}} {
		if _, ok := e.Still(id); ok {
			t.Errorf("%v is still there", id)
		}
	}
}

func TestExternalWithoutAnAddress(t *testing.T) {
	var forwarded atomic.Value
	e, _ := service(t, long, func(_ http.ResponseWriter, r *http.Request) { forwarded.Store(r.Header.Get("X-Forwarded-For")) })
	for client, want := range map[string]string{"fe80::1%eth0": "fe80::1", "192.0.2.1": "192.0.2.1"} {
		if _, err := e.Verify(t.Context(), &auth.Credentials{User: "joe", Client: addr(client)}); err != nil || forwarded.Load() != want {
			t.Errorf("%s: %v, %v", client, forwarded.Load(), err)
		}
	}
	if _, err := e.Verify(t.Context(), &auth.Credentials{User: "joe"}); err != nil || forwarded.Load() != "" {
		t.Errorf("%v, %v", forwarded.Load(), err)
	}
}

func TestExternalAnswers(t *testing.T) {
	head := func(lines ...string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			for _, line := range lines {
				name, value, _ := strings.Cut(line, ": ")
				w.Header().Add(name, value)
			}
		}
	}
	status := func(code int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
	}
	for _, tt := range []struct {
		name   string
		answer http.HandlerFunc
		want   string // user and groups, "wrong", or what the error says
	}{
		{"200", status(200), "joe []"},
		{"204", status(204), "joe []"},
		{"299", status(299), "joe []"},
		{"user", head("Remote-User: Joe Doe"), "Joe Doe []"},
		{"user, another case", head("REMOTE-user: x"), "x []"},
		{"UTF-8", head("Remote-User: jörg", "Remote-Groups: büro"), "jörg [büro]"},
		{"groups", head("Remote-Groups: ops, ci,,ops ,\tall"), "joe [all ci ops]"},
		{"groups on lines", head("Remote-Groups: b", "Remote-Groups: a,c"), "joe [a b c]"},
		{"two users", head("Remote-User: a", "Remote-User: b"), "more than one Remote-User"},
		{"empty user", head("Remote-User: "), "names no user"},
		{"user not UTF-8", head("Remote-User: jo\xe9"), "a name that is none"},
		{"tab in the user", head("Remote-User: a\tb"), "a name that is none"},
		{"C1 in the user", head("Remote-User: a\u0085b"), "a name that is none"},
		{"long user", head("Remote-User: " + strings.Repeat("x", 256)), "a name that is none"},
		{"group not UTF-8", head("Remote-Groups: a,\xff"), "a name that is none"},
		{"huge head", head("Remote-Groups: " + strings.Repeat("x,", 1<<20)), "ask "},
		{"401", status(401), "wrong"},
		{"403", status(403), "wrong"},
		{"407", status(407), "wrong"},
		{"400", status(400), "status 400"},
		{"404", status(404), "status 404"},
		{"429", status(429), "status 429"},
		{"500", status(500), "status 500"},
		{"503", status(503), "status 503"},
		{"304", status(304), "status 304"},
		{"panics", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, "ask "},
		{"early hints first", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(103); w.WriteHeader(401) }, "wrong"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			e, s := service(t, long, tt.answer)
			id, err := e.Verify(t.Context(), credentials("joe", "secret"))
			if id != nil {
				if got := fmt.Sprint(id.User, " ", id.Groups); got != tt.want || err != nil {
					t.Errorf("%s, %v", got, err)
				}
				return
			}
			if errors.Is(err, auth.ErrWrong) != (tt.want == "wrong") || tt.want != "wrong" && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%v, want %s", err, tt.want)
			}
			if tt.want == "wrong" {
				return
			}
			if !strings.HasPrefix(err.Error(), "ask "+s.Listener.Addr().String()+": ") {
				t.Errorf("does not tell whom it asked: %v", err)
			}
			for _, secret := range []string{"hidden", "secret", "am9l"} {
				if strings.Contains(err.Error(), secret) {
					t.Errorf("tells %s: %v", secret, err)
				}
			}
		})
	}
}

// Credentials go where the operator said, and nowhere else.
func TestExternalFollowsNobody(t *testing.T) {
	var caught atomic.Int64
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { caught.Add(1) }))
	defer other.Close()
	for _, name := range []string{"HTTP_PROXY", "http_proxy", "ALL_PROXY"} {
		t.Setenv(name, other.URL)
	}
	for _, code := range []int{301, 302, 303, 307, 308} {
		e, _ := service(t, long, func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, other.URL, code)
		})
		if _, err := e.Verify(t.Context(), credentials("joe", "x")); err == nil || errors.Is(err, auth.ErrWrong) || !strings.Contains(err.Error(), fmt.Sprint("status ", code)) {
			t.Errorf("%d: %v", code, err)
		}
	}
	if caught.Load() != 0 {
		t.Error("somebody else was asked")
	}
}

// Whatever the credentials are, the question is one question.
func TestExternalCannotBeInjected(t *testing.T) {
	var questions atomic.Int64
	e, _ := service(t, long, func(_ http.ResponseWriter, r *http.Request) {
		questions.Add(1)
		if user, _, ok := r.BasicAuth(); !ok || !strings.HasPrefix(user, "joe") || r.Header.Get("X-Evil") != "" || len(r.Header) != 2 {
			t.Errorf("%v", r.Header)
		}
	})
	for _, text := range []string{"joe\r\nX-Evil: 1", "joe\n\nGET / HTTP/1.1\r\n\r\n", "joe\x00", "joe" + strings.Repeat("x", 1000), "joe\u2028"} {
		id, err := e.Verify(t.Context(), credentials(text, text))
		if wild := strings.ContainsAny(text, "\r\n\x00") || len(text) > 255; wild != (err != nil) || id != nil && id.User != text {
			t.Errorf("%q: %v, %v", text, id, err)
		}
	}
	if questions.Load() != 5 {
		t.Errorf("%d questions", questions.Load())
	}
}

// raw is a service that speaks for itself, over each connection.
func raw(t *testing.T, timeout time.Duration, speak func(net.Conn)) *auth.External {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = io.ReadAtLeast(c, make([]byte, 4096), 64)
			speak(c)
			_ = c.Close()
		}
	}()
	t.Cleanup(func() { _ = l.Close(); <-done })
	e := auth.NewExternal(auth.ExternalOptions{URL: "http://" + l.Addr().String(), Timeout: timeout})
	t.Cleanup(e.Close)
	return e
}

func TestExternalThatIsNone(t *testing.T) {
	says := func(text string) func(net.Conn) { return func(c net.Conn) { _, _ = io.WriteString(c, text) } }
	for name, speak := range map[string]func(net.Conn){
		"says nothing":    says(""),
		"rubbish":         says("hello\r\n\r\n"),
		"another one":     says("SSH-2.0-x\r\n"),
		"breaks off":      says("HTTP/1.1 200 OK\r\nRemote-Us"),
		"NUL in a name":   says("HTTP/1.1 200 OK\r\nRemote-User: a\x00b\r\nContent-Length: 0\r\n\r\n"),
		"CR in a name":    says("HTTP/1.1 200 OK\r\nRemote-User: a\rb\r\nContent-Length: 0\r\n\r\n"),
		"folded name":     says("HTTP/1.1 200 OK\r\nRemote-User: a\r\n\tb\x01\r\nContent-Length: 0\r\n\r\n"),
		"resets":          func(c net.Conn) { _ = c.(*net.TCPConn).SetLinger(0) },
		"status zero":     says("HTTP/1.1 000 OK\r\nContent-Length: 0\r\n\r\n"),
		"status switches": says("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			id, err := raw(t, long, speak).Verify(t.Context(), credentials("joe", "x"))
			if id != nil || err == nil || errors.Is(err, auth.ErrWrong) {
				t.Errorf("%v, %v", id, err)
			}
		})
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Close()
	for _, url := range []string{"http://" + l.Addr().String(), "http://nobody.invalid/", "https://" + l.Addr().String(), "nonsense", "", "http://[::1", "ftp://127.0.0.1/"} {
		e := auth.NewExternal(auth.ExternalOptions{URL: url, Timeout: long})
		if id, err := e.Verify(t.Context(), credentials("joe", "x")); id != nil || err == nil || errors.Is(err, auth.ErrWrong) {
			t.Errorf("%s: %v, %v", url, id, err)
		}
		e.Close()
	}
}

// A service that says nothing is waited for so long; so does whoever asked not
// wait any more.
func TestExternalThatHangs(t *testing.T) {
	const timeout = 200 * time.Millisecond
	until := func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() }
	drip := func(w http.ResponseWriter, r *http.Request) {
		for r.Context().Err() == nil {
			w.WriteHeader(103)
			time.Sleep(5 * time.Millisecond)
		}
	}
	for name, answer := range map[string]http.HandlerFunc{"silent": until, "hints for ever": drip} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e, _ := service(t, timeout, answer)
			if id, err := e.Verify(t.Context(), credentials("joe", "x")); id != nil || err == nil || errors.Is(err, auth.ErrWrong) {
				t.Errorf("%v, %v", id, err)
			}
			slow, _ := service(t, long, answer)
			ctx, cancel := context.WithTimeout(t.Context(), timeout)
			defer cancel()
			if id, err := slow.Verify(ctx, credentials("joe", "x")); id != nil || !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%v, %v", id, err)
			}
		})
	}
}

// The status is the answer: a body without end changes nothing but that its
// connection is of no use any more.
func TestExternalBodies(t *testing.T) {
	for _, tt := range []struct {
		name string
		body func(http.ResponseWriter, *http.Request)
		kept bool
	}{
		{"none", func(http.ResponseWriter, *http.Request) {}, true},
		{"short", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "no") }, true},
		{"chunked", func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprint(w, "n")
			w.(http.Flusher).Flush()
			fmt.Fprint(w, "o")
		}, true},
		{"huge", func(w http.ResponseWriter, r *http.Request) {
			for r.Context().Err() == nil {
				if _, err := w.Write(bytes.Repeat([]byte("x"), 1<<10)); err != nil {
					return
				}
			}
		}, false},
		{"hangs", func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprint(w, "n")
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		}, false},
		{"breaks off", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100")
			fmt.Fprint(w, "n")
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		}, false},
	} {
		for _, code := range []int{200, 401} {
			t.Run(fmt.Sprint(tt.name, " ", code), func(t *testing.T) {
				t.Parallel()
				var connections atomic.Int64
				s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					w.WriteHeader(code)
					tt.body(w, r)
				}))
				s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
					if state == http.StateNew {
						connections.Add(1)
					}
				}
				s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
				s.Start()
				defer s.Close()
				e := auth.NewExternal(auth.ExternalOptions{URL: s.URL, Timeout: long})
				defer e.Close()
				const questions = 3
				for range questions {
					id, err := e.Verify(t.Context(), credentials("joe", "x"))
					if code == 200 && (err != nil || id.User != "joe") || code == 401 && !errors.Is(err, auth.ErrWrong) {
						t.Errorf("%v, %v", id, err)
					}
				}
				if n := connections.Load(); tt.kept && n != 1 || !tt.kept && n != questions {
					t.Errorf("%d connections", n)
				}
			})
		}
	}
}

func TestExternalOverTLS(t *testing.T) {
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Remote-User", "jane") }))
	s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	s.EnableHTTP2 = true
	s.StartTLS()
	defer s.Close()
	pool := x509.NewCertPool()
	pool.AddCert(s.Certificate())
	for _, trusted := range []bool{true, false} {
		o := auth.ExternalOptions{URL: s.URL, Timeout: long}
		if trusted {
			o.RootCAs = pool
		}
		e := auth.NewExternal(o)
		id, err := e.Verify(t.Context(), credentials("joe", "x"))
		if trusted && (err != nil || id.User != "jane") || !trusted && (err == nil || errors.Is(err, auth.ErrWrong)) {
			t.Errorf("trusted %v: %v, %v", trusted, id, err)
		}
		e.Close()
	}
}
