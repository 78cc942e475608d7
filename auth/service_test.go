package auth_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"viaduct/auth"
)

// A gate asks a service once, for as long as it is believed, and lets nobody in
// while it is gone.
func TestGateWithExternal(t *testing.T) {
	var asked atomic.Int64
	e, s := service(t, long, func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		if _, password, _ := r.BasicAuth(); password != "right" {
			w.WriteHeader(http.StatusUnauthorized)
		}
		w.Header().Set("Remote-Groups", "ci")
	})
	m := auth.NewMemory()
	g := auth.NewGate(auth.Options{Verifier: e, Memory: m, Name: s.URL})
	for range 10 {
		wantTry(t, g, "192.0.2.1", field("joe", "right"), "joe")
	}
	wantTry(t, g, "192.0.2.1", field("joe", "wrong"), append(times(10, "wrong"), "throttled")...)
	if asked.Load() != 11 {
		t.Errorf("asked %d times", asked.Load())
	}
	again := auth.NewGate(auth.Options{Verifier: auth.NewExternal(auth.ExternalOptions{URL: s.URL + "/who?key=hidden"}), Memory: m, Name: s.URL})
	wantTry(t, again, "192.0.2.1", field("joe", "right"), "joe")
	s.Close()
	wantTry(t, g, "192.0.2.1", field("jane", "right"), times(20, "unavailable")...)
	wantTry(t, g, "192.0.2.1", field("joe", "right"), "joe")
	brief := auth.NewGate(auth.Options{Verifier: e, Memory: m, Name: s.URL, TTL: time.Nanosecond})
	wantTry(t, brief, "192.0.2.1", field("joe", "right"), "unavailable")
	if asked.Load() != 11 {
		t.Errorf("asked %d times", asked.Load())
	}
}

// Many are asked about at a time, but not all.
func TestExternalIsAskedManyAtATime(t *testing.T) {
	let := make(chan struct{})
	var asked atomic.Int64
	e, _ := service(t, long, func(http.ResponseWriter, *http.Request) { asked.Add(1); <-let })
	g := auth.NewGate(auth.Options{Verifier: e})
	var all crowd
	for i := range auth.MostAsked + 10 {
		all.ask(t.Context(), g, fmt.Sprintf("192.0.2.%d", i), field("joe", fmt.Sprint(i)))
	}
	if !eventually(func() bool { return asked.Load() == auth.MostAsked }) {
		t.Errorf("%d at a time", asked.Load())
	}
	close(let)
	all.wait.Wait()
}

// A service may judge by the address, so that what it said of one is nothing that
// it said of another, not even of a neighbour.
func TestServiceIsAskedForEachAddress(t *testing.T) {
	asked := make(map[string]int) // one question at a time
	e, s := service(t, long, func(w http.ResponseWriter, r *http.Request) {
		from := r.Header.Get("X-Forwarded-For")
		asked[from]++
		if !slices.Contains([]string{"192.0.2.1", "2001:db8::1", "fe80::1"}, from) {
			w.WriteHeader(http.StatusForbidden)
		}
	})
	g := auth.NewGate(auth.Options{Verifier: e, Name: s.URL})
	joe := field("joe", "right")
	for client, want := range map[string]string{
		"192.0.2.1": "joe", "::ffff:192.0.2.1": "joe", "192.0.2.2": "wrong",
		"2001:db8::1": "joe", "2001:db8::2": "wrong",
		"fe80::1%eth0": "joe", "fe80::1%eth1": "joe", "fe80::2%eth0": "wrong",
	} {
		wantTry(t, g, client, joe, want, want)
		if id, ok := g.Recall(addr(client), joe); ok != (want == "joe") || ok != (id != nil) {
			t.Errorf("%s: recalled %v, %v", client, id, ok)
		}
	}
	want := map[string]int{"192.0.2.1": 1, "192.0.2.2": 2, "2001:db8::1": 1, "2001:db8::2": 2, "fe80::1": 1, "fe80::2": 2}
	if fmt.Sprint(asked) != fmt.Sprint(want) {
		t.Errorf("asked %v, want %v", asked, want)
	}
}

// Neighbours who come at once are one client to the throttle, but each is asked
// about.
func TestNeighboursShareNoFlight(t *testing.T) {
	let := make(chan struct{})
	var asked atomic.Int64
	e, _ := service(t, long, func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		<-let
		if r.Header.Get("X-Forwarded-For") != "2001:db8::1" {
			w.WriteHeader(http.StatusForbidden)
		}
	})
	g := auth.NewGate(auth.Options{Verifier: e})
	var all crowd
	for range 5 {
		for _, client := range []string{"2001:db8::1", "2001:db8::2", "2001:db8::3"} {
			all.ask(t.Context(), g, client, field("joe", "right"))
		}
	}
	if !eventually(func() bool {
		flights, waiters, clients := g.Flights()
		return flights == 3 && waiters == 15 && clients == 1
	}) {
		t.Error(g.Flights())
	}
	close(let)
	all.want(t, map[string]int{"joe": 5, "wrong": 10})
	if asked.Load() != 3 {
		t.Errorf("asked %d times", asked.Load())
	}
}

// A service that takes its time over a no, as those do that mean to slow guessers
// down, is not to be guessed at without end by whoever reads its silence.
func TestNoThatComesLateIsCounted(t *testing.T) {
	var told atomic.Int64
	e, _ := service(t, 50*time.Millisecond, func(w http.ResponseWriter, r *http.Request) {
		<-r.Context().Done()
		w.WriteHeader(http.StatusForbidden)
	})
	g := auth.NewGate(auth.Options{Verifier: e, Failed: func(auth.Failure) { told.Add(1) }})
	guesses := int64(0)
	for try(g, "192.0.2.1", field("joe", fmt.Sprint("guess", guesses))) == "unavailable" && guesses < 1000 {
		guesses++
	}
	if got := try(g, "192.0.2.1", field("joe", "guess")); got != "throttled" || guesses < 10 {
		t.Errorf("%s after %d guesses", got, guesses)
	}
	if told.Load() != guesses {
		t.Errorf("told of %d in %d guesses", told.Load(), guesses)
	}
	if _, err := g.Admit(context.Background(), addr("192.0.2.2"), field("joe", "guess")); verdict(err) != "unavailable" {
		t.Error(err)
	}
}
