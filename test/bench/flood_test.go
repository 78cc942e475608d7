package main

import (
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

// Whoever has the password is served, and the others are told so in different
// ways: in a connection that stays, in one that ends, or with none at all.
func TestFloodBesideTheLoad(t *testing.T) {
	good := strings.TrimSpace(strings.TrimPrefix(proxyAuthorization(userName, password), "Proxy-Authorization:"))
	for _, tt := range []struct {
		name   string
		refuse http.HandlerFunc
		status int64
		wrong  bool
	}{
		{"kept", func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "who?", 407) }, 407, false},
		{"closed", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Connection", "close")
			http.Error(w, "later", 429)
		}, 429, false},
		{"chunked", func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(503)
			w.(http.Flusher).Flush()
		}, 503, false},
		{"hung up", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, 0, false},
		{"let in", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, small)) }, 200, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Header.Get("Proxy-Authorization") != good {
					tt.refuse(w, r)
					return
				}
				_, _ = w.Write(make([]byte, small))
			}))
			defer srv.Close()
			to := target{
				port: int(atoi([]byte(srv.URL[strings.LastIndexByte(srv.URL, ':')+1:]))), proxy: true, hosts: []string{"localhost:9"},
				field: proxyAuthorization(userName, password),
			}
			j := keptAlive(to)
			j.port, j.begin, j.end = to.port, func() {}, func() {}
			j.flood = flood{rate: 2000, from: 3, attempt: to.wrongPassword}
			l, err := longEnough(j, func(j job) (*load, error) {
				l, err := drive(j, bulk{})
				if err == nil && l.refused[tt.status] == 0 {
					l.units = 0 // not long enough
				}
				return l, err
			})
			switch {
			case tt.wrong && err == nil && l.errors == 0:
				t.Error("no error where a wrong password was let in")
			case !tt.wrong && (err != nil || l.errors > 0 || l.units == 0 || l.refused[tt.status] == 0 || len(l.refused) > 1):
				t.Errorf("%v, %d units, %d errors, %s, %v", err, l.units, l.errors, l.first, l.refused)
			}
		})
	}
}

func TestFloodKeepsItsRateAndComesFromItsAddresses(t *testing.T) {
	from := make(map[string]int)
	users := make(map[string]bool)
	var mu sync.Mutex
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Header.Set("Authorization", r.Header.Get("Proxy-Authorization"))
		user, secret, _ := r.BasicAuth()
		if secret != password {
			host, _, _ := net.SplitHostPort(r.RemoteAddr)
			mu.Lock()
			from[host]++
			users[user+secret] = true
			mu.Unlock()
			w.WriteHeader(407)
			return
		}
		_, _ = w.Write(make([]byte, small))
	}))
	defer srv.Close()
	to := target{port: int(atoi([]byte(srv.URL[strings.LastIndexByte(srv.URL, ':')+1:]))), proxy: true, hosts: []string{"localhost:9"}}
	to.field = proxyAuthorization(userName, password)
	j := keptAlive(to)
	j.port, j.begin, j.end = to.port, func() {}, func() {}
	j.flood, j.measure = flood{rate: 1000, from: 4, attempt: to.wrongPassword}, time.Second
	begun := now()
	l, err := drive(j, bulk{})
	most := int(now()-begun) / 1e6
	if err != nil || l.errors > 0 {
		t.Fatal(err, l.first)
	}
	mu.Lock()
	defer mu.Unlock()
	n := 0
	for host, count := range from {
		if n += count; count < len(users)/10 {
			t.Errorf("%d of %d from %s", count, len(users), host)
		}
	}
	// It never makes up for what it could not send, and nothing is sent twice.
	if len(from) != 4 || n > most || len(users) != n {
		t.Errorf("%d requests of at most %d, %d different, from %v", n, most, len(users), from)
	}
}
