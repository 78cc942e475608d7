package server_test

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"viaduct/config"
	"viaduct/server"
)

// head sends a request and returns the head of the answer.
func (r *running) head(addr, request string) string {
	r.t.Helper()
	c := dialTo(r.t, addr)
	say(r.t, c, request)
	got := hear(r.t, c, "\r\n\r\n")
	_ = c.Close()
	return got
}

func TestTooManyClientsAreTold(t *testing.T) {
	for _, c := range []struct {
		name   string
		limit  func(*setting)
		status string
	}{
		{"of all", func(c *setting) { c.MaxConns = 2 }, "HTTP/1.1 503 "},
		{"of one", func(c *setting) { c.MaxConnsPerClient = 2 }, "HTTP/1.1 429 "},
	} {
		t.Run(c.name, func(t *testing.T) {
			at, guests := origin(t)
			conf := plain("127.0.0.1:0")
			c.limit(&conf)
			r := run(t, conf)
			idle := r.dial()
			client, far := tunnel(t, r, at, guests) // it counts while it lasts
			for range 3 {
				got := r.head(r.addrs()[0], get(at))
				if !strings.HasPrefix(got, c.status) || !strings.Contains(got, "connection_limit_reached") || !strings.Contains(got, "\r\nRetry-After: ") {
					t.Errorf("%q", got)
				}
			}
			_ = client.Close()
			_ = far.Close()
			poll(t, "the place is free again", func() bool {
				return strings.HasPrefix(r.head(r.addrs()[0], "GET / HTTP/1.1\r\nHost: x\r\n\r\n"), "HTTP/1.1 400 ")
			})
			_ = idle
		})
	}
}

func TestLimitsMayBeChanged(t *testing.T) {
	conf := plain("127.0.0.1:0")
	conf.MaxConns = 2
	r, change := changing(t, conf)
	ask := func() string { return r.head(r.addrs()[0], "GET / HTTP/1.1\r\nHost: x\r\n\r\n")[:12] }
	a, b := r.dial(), r.dial()
	poll(t, "it is full", func() bool { return ask() == "HTTP/1.1 503" })
	conf.MaxConns = 3
	change(conf)
	poll(t, "there is room", func() bool { return ask() == "HTTP/1.1 400" })
	conf.MaxConns = 1
	change(conf)
	if got := ask(); got != "HTTP/1.1 503" {
		t.Errorf("%q", got)
	}
	_, _ = a, b
}

func TestEgressThatCannotBeUsedIsRefusedAtTheStart(t *testing.T) {
	conf := plain("127.0.0.1:0")
	conf.Egress = must[*config.Config](t)(config.Read("x", []byte("forward: [{egress: [127.0.3.1, 198.51.100.1]}]"))).Forward[0].Egress
	if _, err := newServer(conf, new(journal)); err == nil || !strings.Contains(err.Error(), "egress") || !strings.Contains(err.Error(), "198.51.100.1") {
		t.Errorf("%v", err)
	}
}

func TestEgressIsWhereConnectionsComeFrom(t *testing.T) {
	at, guests := origin(t)
	conf := plain("127.0.0.1:0")
	conf.Egress = must[*config.Config](t)(config.Read("x", []byte("forward: [{egress: 127.0.3.1}]"))).Forward[0].Egress
	r := run(t, conf)
	c := r.dial()
	say(t, c, get(at))
	g := guest(t, guests)
	say(t, g, answer)
	_, far := tunnel(t, r, at, guests)
	for _, from := range []string{g.RemoteAddr().String(), far.RemoteAddr().String()} {
		if !strings.HasPrefix(from, "127.0.3.1:") {
			t.Errorf("the origin sees %s", from)
		}
	}
}

// fetch asks the admin address.
func fetch(t testing.TB, url, token string) (status int, body string) {
	t.Helper()
	req := must[*http.Request](t)(http.NewRequest(http.MethodGet, url, nil))
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	transport := &http.Transport{DisableKeepAlives: true}
	res, err := transport.RoundTrip(req)
	if err != nil {
		return 0, err.Error()
	}
	defer res.Body.Close()
	return res.StatusCode, string(must[[]byte](t)(io.ReadAll(res.Body)))
}

func (r *running) admin() string {
	i := strings.LastIndex(r.log.String(), " admin=")
	if i < 0 {
		return ""
	}
	return strings.Fields(r.log.String()[i+len(" admin="):])[0]
}

func TestAdminTellsHealthAndMetrics(t *testing.T) {
	at, guests := origin(t)
	conf := entries(plain("127.0.0.1:0"))
	conf.Admin.Listen = "127.0.0.1:0"
	src := new(source)
	src.set(conf, nil)
	r := runWith(t, src.load, 1)
	url := "http://" + r.admin()
	for path, want := range map[string]string{"/healthz": "ok\n", "/readyz": "ready\n"} {
		if code, body := fetch(t, url+path, ""); code != 200 || body != want {
			t.Errorf("%s: %d %q", path, code, body)
		}
	}
	c := r.dial()
	ask(t, c, at, guests)
	client, far := tunnel(t, r, at, guests)
	poll(t, "the metrics count", func() bool {
		_, body := fetch(t, url+"/metrics", "")
		for _, line := range []string{
			`viaduct_requests_total{code="2xx",listener="127.0.0.1:0"} 1`,
			`viaduct_tunnels{listener="127.0.0.1:0"} 1`,
			`viaduct_client_connections{listener="127.0.0.1:0"} 2`,
			`viaduct_dns_queries_total`, `viaduct_access_log_lines_dropped_total`,
		} {
			if !strings.Contains(body, line) {
				return false
			}
		}
		return true
	})
	if got := r.head(r.addrs()[0], "GET "+url+"/metrics HTTP/1.1\r\nHost: x\r\n\r\n"); !strings.HasPrefix(got, "HTTP/1.1 421 ") {
		t.Errorf("the admin address is reached through the proxy: %q", got)
	}

	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte("s3cret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	locked := *conf
	locked.Admin.TokenFile = token
	src.set(&locked, nil)
	if err := r.server.Reload(); err != nil {
		t.Fatal(err)
	}
	if code, _ := fetch(t, url+"/metrics", ""); code != 401 {
		t.Errorf("without token: %d", code)
	}
	if code, _ := fetch(t, url+"/metrics", "s3cret"); code != 200 {
		t.Errorf("with token: %d", code)
	}
	if strings.Contains(r.log.String(), "s3cret") {
		t.Error("the token is in the log")
	}

	r.stop()
	poll(t, "readiness turns red", func() bool { code, _ := fetch(t, url+"/readyz", ""); return code == 503 })
	if code, _ := fetch(t, url+"/healthz", ""); code != 200 {
		t.Errorf("health while draining: %d", code)
	}
	_ = client.Close()
	_ = far.Close()
	if err := r.finish(); err != nil {
		t.Error(err)
	}
	if code, _ := fetch(t, url+"/healthz", ""); code != 0 {
		t.Errorf("after the end: %d", code)
	}
}

func TestAdminAddressMayChange(t *testing.T) {
	conf := entries(plain("127.0.0.1:0"))
	conf.Admin.Listen = "127.0.0.1:0"
	src := new(source)
	src.set(conf, nil)
	r := runWith(t, src.load, 1)
	first := r.admin()
	moved := *conf
	moved.Admin.Listen = "127.0.0.2:0"
	src.set(&moved, nil)
	if err := r.server.Reload(); err != nil {
		t.Fatal(err)
	}
	if second := r.admin(); !strings.HasPrefix(second, "127.0.0.2:") {
		t.Fatalf("it is %s still", second)
	}
	if code, _ := fetch(t, "http://"+r.admin()+"/readyz", ""); code != 200 {
		t.Errorf("%d", code)
	}
	poll(t, "the old one is closed", func() bool { code, _ := fetch(t, "http://"+first+"/healthz", ""); return code == 0 })
	none := *conf
	none.Admin = config.Admin{}
	src.set(&none, nil)
	if err := r.server.Reload(); err != nil {
		t.Fatal(err)
	}
	poll(t, "none is left", func() bool { code, _ := fetch(t, "http://"+r.admin()+"/healthz", ""); return code == 0 })
}

func TestBadTokenFileIsTold(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"empty": "\n", "two words": "a b", "missing": ""} {
		path := filepath.Join(dir, name)
		if name != "missing" {
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		conf := entries(plain("127.0.0.1:0"))
		conf.Admin = config.Admin{Listen: "127.0.0.1:0", TokenFile: path}
		_, err := server.New(server.Options{Load: func() (*config.Config, error) { return conf, nil }, Log: logger(new(journal))})
		if err == nil || !strings.Contains(err.Error(), "admin token") {
			t.Errorf("%s: %v", name, fmt.Sprint(err))
		}
	}
}
