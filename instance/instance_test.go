package instance_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"viaduct/instance"
)

// TestMain fails the package if goroutines are left.
func TestMain(m *testing.M) {
	routines := runtime.NumGoroutine()
	code := m.Run()
	for end := time.Now().Add(time.Minute); runtime.NumGoroutine() > routines; <-time.After(2 * time.Millisecond) {
		if time.Now().After(end) {
			buf := make([]byte, 1<<20)
			fmt.Printf("goroutines are left\n%s\n", buf[:runtime.Stack(buf, true)])
			code = 1
			break
		}
	}
	os.Exit(code)
}

// at is an instance of which the address is known to be right.
func at(t *testing.T, addr, token string) instance.Instance {
	t.Helper()
	i, err := instance.At(addr, token)
	if err != nil {
		t.Fatal(err)
	}
	return i
}

// serving runs an HTTP server, on a socket in the file system if path is given,
// and returns its address.
func serving(t *testing.T, path string, h http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewUnstartedServer(h)
	if path == "" {
		s.Start()
		t.Cleanup(s.Close)
		return s.Listener.Addr().String()
	}
	_ = s.Listener.Close()
	var err error
	if s.Listener, err = net.Listen("unix", path); err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(s.Close)
	return "unix://" + path
}

func TestAddresses(t *testing.T) {
	for _, bad := range []string{
		"", "9090", "127.0.0.1", "127.0.0.1:", "127.0.0.1:http", "127.0.0.1:65536", "::1:9090", "https://127.0.0.1:9090", "http://joe@127.0.0.1:9090",
		"http://127.0.0.1:9090/metrics", "127.0.0.1:9090/metrics", "a b:1", "a%b:1", "a?b:1", "unix://", "unix://run/s", "unix:/run/s", "/run/s", "unix://@s",
	} {
		_, err := instance.At(bad, "")
		mistake, ok := errors.AsType[instance.MistakeError](err)
		if !ok || !strings.HasPrefix(string(mistake), bad+": write ") {
			t.Errorf("%q: %v", bad, err)
		}
	}
	for _, good := range []string{"127.0.0.1:9090", "[::1]:1", ":9090", "0.0.0.0:9090", "localhost:65535", "http://proxy.example:9090/", "unix:///run/viaduct.sock"} {
		at(t, good, "")
	}
}

// TestAskBoth: by address and by path, with and without a token, and the proxy
// of the environment has no part in it.
func TestAskBoth(t *testing.T) {
	t.Setenv("http_proxy", "http://127.0.0.1:1")
	for _, path := range []string{"", filepath.Join(t.TempDir(), "s")} {
		var asked *http.Request
		addr := serving(t, path, func(w http.ResponseWriter, r *http.Request) {
			asked = r
			_, _ = io.WriteString(w, `{"a":1}`)
		})
		for _, token := range []string{"", "sesame"} {
			var found struct{ A int }
			if err := at(t, addr, token).Ask(t.Context(), "/api/x?y=z%26", &found); err != nil || found.A != 1 {
				t.Errorf("%s: %v, %v", addr, found, err)
			}
			want := "Bearer " + token
			if token == "" {
				want = ""
			}
			if asked.Method != "GET" || asked.RequestURI != "/api/x?y=z%26" || asked.Header.Get("Authorization") != want || path != "" && asked.Host != "localhost" {
				t.Errorf("%s: %s %s of %s, %v", addr, asked.Method, asked.RequestURI, asked.Host, asked.Header)
			}
		}
	}
}

func TestAddressOfAllIsReachedByTheLoopback(t *testing.T) {
	addr := serving(t, "", func(w http.ResponseWriter, r *http.Request) { _, _ = fmt.Fprintf(w, "%q", r.Host) })
	_, port, _ := net.SplitHostPort(addr)
	for _, host := range []string{"", "0.0.0.0", "localhost"} {
		var name string
		if err := at(t, host+":"+port, "").Ask(t.Context(), "/", &name); err != nil || name != "localhost:"+port {
			t.Errorf("%s: %s, %v", host, name, err)
		}
	}
}

// TestAnswersInWords: what can be put right is told apart from what cannot.
func TestAnswersInWords(t *testing.T) {
	say := func(status int, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", "/elsewhere")
			w.WriteHeader(status)
			_, _ = io.WriteString(w, body)
		}
	}
	foreign := "and not as viaduct does: is it another program, or another version?"
	for name, c := range map[string]struct {
		handler http.HandlerFunc
		token   string
		mistake bool
		want    string
	}{
		"a mistake":            {say(400, `{"error":"no \u001b such"}`), "", true, "no \x1b such"},
		"a mistake, unnamed":   {say(400, `{}`), "", false, foreign},
		"a mistake in words":   {say(400, "Bad Request"), "", false, foreign},
		"a token":              {say(401, ""), "", true, "asks for a token: add --admin-token-file FILE"},
		"another token":        {say(401, ""), "x", true, "knows another token"},
		"another name":         {say(421, ""), "", true, "does not go by this name"},
		"nothing there":        {say(404, ""), "", false, "answers 404, " + foreign},
		"a redirect":           {say(302, ""), "", false, "answers 302, " + foreign},
		"its own error":        {say(500, "1"), "", false, "answers 500, " + foreign},
		"no JSON":              {say(200, "<html>"), "", false, "answers 200, " + foreign},
		"something else":       {say(200, `"a"`), "", false, "answers 200, " + foreign},
		"twice":                {say(200, "1 1"), "", false, foreign},
		"nothing":              {say(200, ""), "", false, foreign},
		"too much":             {say(200, strings.Repeat(" ", 17<<20)+"1"), "", false, foreign},
		"one that hangs up":    {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, "", false, "no viaduct answers at "},
		"one that ends early":  {func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Content-Length", "9") }, "", false, "breaks off: unexpected EOF"},
		"one that is no proxy": {func(w http.ResponseWriter, _ *http.Request) { hijack(w, "220 mail.example\r\n") }, "", false, "no viaduct answers at "},
	} {
		for _, path := range []string{"", filepath.Join(t.TempDir(), "s")} {
			var found int
			err := at(t, serving(t, path, c.handler), c.token).Ask(t.Context(), "/", &found)
			_, mistake := errors.AsType[instance.MistakeError](err)
			if err == nil || mistake != c.mistake || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s: %v, want %s", name, err, c.want)
			}
		}
	}
}

// hijack writes what is no HTTP.
func hijack(w http.ResponseWriter, text string) {
	nc, _, err := http.NewResponseController(w).Hijack()
	if err == nil {
		_, _ = io.WriteString(nc, text)
		_ = nc.Close()
	}
}

func TestNobodyIsThere(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Close()
	path := filepath.Join(t.TempDir(), "s")
	for addr, want := range map[string]string{
		l.Addr().String():                     "no viaduct answers at http://" + l.Addr().String() + ": dial tcp " + l.Addr().String() + ": connect: connection refused",
		"unix://" + path:                      "no viaduct answers at unix://" + path + ": dial unix " + path + ": connect: no such file or directory",
		"unix:///" + strings.Repeat("x", 200): "invalid argument",
	} {
		if err := at(t, addr, "").Ask(t.Context(), "/", nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", addr, err, want)
		}
	}
}

// TestAskEndsWithItsContext, where nobody answers.
func TestAskEndsWithItsContext(t *testing.T) {
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		if c, err := l.Accept(); err == nil {
			cancel()
			_, _ = io.Copy(io.Discard, c)
			_ = c.Close()
		}
	}()
	if err := at(t, "unix://"+l.Addr().String(), "").Ask(ctx, "/", nil); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}
