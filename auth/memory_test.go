package auth_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"viaduct/auth"
)

// gates makes one gate after another on one Memory, as reloads do, and counts
// the hashes of all.
type gates struct {
	memory *auth.Memory
	hashes int
}

func (g *gates) reload(t testing.TB, text, groups string, ttl time.Duration) *auth.Gate {
	u := users(t, text, groups)
	u.CountHashes(func(string) { g.hashes++ })
	return auth.NewGate(auth.Options{Verifier: u, Memory: g.memory, TTL: ttl})
}

func (g *gates) want(t *testing.T, n int) {
	t.Helper()
	if g.hashes != n {
		t.Errorf("%d hashes, want %d", g.hashes, n)
	}
	g.hashes = 0
}

func TestVerifiedCredentialsCostNoHash(t *testing.T) {
	all := gates{memory: auth.NewMemory()}
	g := all.reload(t, "joe:"+horse+"\njane:"+plus, "", 0)
	joe := field("joe", "correct horse")
	for i := range 100 {
		wantTry(t, g, fmt.Sprintf("192.0.2.%d", i), joe, "joe")
	}
	all.want(t, 1)
	wantTry(t, g, "192.0.2.1", field("jane", "correct horse"), times(10, "jane")...)
	all.want(t, 1)
	wantTry(t, g, "192.0.2.1", field("joe", "incorrect"), times(3, "wrong")...)
	wantTry(t, g, "192.0.2.1", field("jim", "correct horse"), times(3, "wrong")...)
	all.want(t, 6)
	if n := all.memory.Kept(); n != 2 {
		t.Errorf("%d are remembered", n)
	}
}

// One client cannot fill the memory by writing the same in other ways.
func TestSpellingsAreTheSameCredentials(t *testing.T) {
	all := gates{memory: auth.NewMemory()}
	g := all.reload(t, "joe:"+horse, "", 0)
	token := string(field("joe", "correct horse")[len("Basic "):])
	for _, scheme := range []string{"Basic ", "basic ", "BASIC ", "bASIC   ", "Basic         "} {
		wantTry(t, g, "192.0.2.1", []byte(scheme+token), "joe")
	}
	all.want(t, 1)
	if n := all.memory.Kept(); n != 1 {
		t.Errorf("%d are remembered", n)
	}
}

// What the operator writes holds at once; what did not change costs no hash.
func TestReloadKeepsWhatDidNotChange(t *testing.T) {
	all := gates{memory: auth.NewMemory()}
	joe, jane := field("joe", "correct horse"), field("jane", "correct horse")
	first := all.reload(t, "joe:"+horse+"\njane:"+plus, "ci: joe", 0)
	wantTry(t, first, "192.0.2.1", joe, "joe")
	wantTry(t, first, "192.0.2.1", jane, "jane")
	before, err := first.Admit(t.Context(), addr("192.0.2.1"), joe)
	if err != nil || fmt.Sprint(before.Groups) != "[ci]" {
		t.Fatal(before, err)
	}
	all.want(t, 2)

	same := all.reload(t, "joe:"+horse+"\njane:"+plus, "ci: joe", 0)
	wantTry(t, same, "192.0.2.1", joe, "joe")
	all.want(t, 0)

	other := all.reload(t, "jane:"+plus+"\njoe:"+horse, "ops: joe\nall: joe jane", 0)
	id, err := other.Admit(t.Context(), addr("192.0.2.1"), joe)
	if err != nil || fmt.Sprint(id.Groups) != "[all ops]" {
		t.Error(id, err)
	}
	if id, ok := other.Still(before); !ok || fmt.Sprint(id.Groups) != "[all ops]" {
		t.Error(id, ok)
	}
	all.want(t, 0)

	gone := all.reload(t, "jane:"+plus, "", 0)
	wantTry(t, gone, "192.0.2.1", joe, "wrong")
	wantTry(t, gone, "192.0.2.1", jane, "jane")
	if _, ok := gone.Still(before); ok {
		t.Error("joe is still there")
	}
	all.want(t, 1)

	changed := all.reload(t, "joe:{SSHA}Ki+Q9Ri8Nn2QN1jUbcaqfsgK/pJOYUNs\njane:"+horse, "", 0) // the same passwords in other words
	if _, ok := changed.Still(before); ok {
		t.Error("joe is still there")
	}
	wantTry(t, changed, "192.0.2.1", joe, "joe", "joe")
	wantTry(t, changed, "192.0.2.1", jane, "jane", "jane")
	all.want(t, 2)

	back := all.reload(t, "joe:"+horse, "", 0)
	wantTry(t, back, "192.0.2.1", joe, "joe")
	all.want(t, 1)
}

// An old gate that is still at work does not bring back what a new one does not
// know.
func TestOldGateBringsNothingBack(t *testing.T) {
	all := gates{memory: auth.NewMemory()}
	joe := field("joe", "correct horse")
	old := all.reload(t, "joe:"+horse, "", 0)
	changed := all.reload(t, "joe:$1$abc$mEYYKBYwc4Odg5SoPgnFr.", "", 0)
	wantTry(t, old, "192.0.2.1", joe, "joe")
	wantTry(t, changed, "192.0.2.1", joe, "wrong")
	wantTry(t, old, "192.0.2.1", joe, "joe")
	wantTry(t, changed, "192.0.2.1", joe, "wrong")
}

// Users are believed as long as they come: their hash is the proof.
func TestUsersAreBelievedWhileTheyCome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all := gates{memory: auth.NewMemory()}
		g := all.reload(t, "joe:"+horse, "", time.Minute)
		joe := field("joe", "correct horse")
		for range 100 {
			wantTry(t, g, "192.0.2.1", joe, "joe")
			time.Sleep(59 * time.Second)
		}
		all.want(t, 1)
		for range 100 {
			wantTry(t, g, "192.0.2.1", joe, "joe")
			time.Sleep(7 * time.Second)
		}
		all.want(t, 0)
		time.Sleep(time.Minute)
		wantTry(t, g, "192.0.2.1", joe, "joe", "joe")
		all.want(t, 1)
		shorter := all.reload(t, "joe:"+horse, "", time.Second)
		time.Sleep(2 * time.Second)
		wantTry(t, shorter, "192.0.2.1", joe, "joe")
		all.want(t, 1)
	})
}

// Whoever was verified elsewhere is believed for so long, and then asked about.
func TestOthersAreBelievedForSoLong(t *testing.T) {
	for _, tt := range []struct{ ttl, holds time.Duration }{{0, 5 * time.Minute}, {time.Minute, time.Minute}, {time.Hour, time.Hour}} {
		synctest.Test(t, func(t *testing.T) {
			c := &clerk{verify: judge}
			g := auth.NewGate(auth.Options{Verifier: c, TTL: tt.ttl})
			joe := field("joe", "right")
			for range 3 {
				before := c.count()
				for range 10 {
					wantTry(t, g, "192.0.2.1", joe, "joe")
					time.Sleep(tt.holds/10 - time.Millisecond)
				}
				if n := c.count() - before; n != 1 {
					t.Errorf("asked %d times within %v", n, tt.holds)
				}
				time.Sleep(time.Second)
			}
		})
	}
}

// What is not right any more is forgotten with the first no.
func TestNoIsRemembered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &clerk{verify: judge}
		m := auth.NewMemory()
		g := auth.NewGate(auth.Options{Verifier: c, Memory: m, TTL: time.Minute})
		wantTry(t, g, "192.0.2.1", field("joe", "right"), "joe")
		c.verify = func(context.Context, *auth.Credentials) (*auth.Identity, error) { return nil, auth.ErrWrong }
		wantTry(t, g, "192.0.2.1", field("joe", "right"), "joe")
		time.Sleep(time.Minute)
		wantTry(t, g, "192.0.2.1", field("joe", "right"), "wrong")
		if n := m.Kept(); n != 0 {
			t.Errorf("%d are remembered", n)
		}
	})
}

// A service that fails does not make those wrong who were right: they are asked
// about until it answers.
func TestUnavailableForgetsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &clerk{verify: judge}
		g := auth.NewGate(auth.Options{Verifier: c, TTL: time.Minute, Failed: func(f auth.Failure) { t.Errorf("told of %v", f) }})
		wantTry(t, g, "192.0.2.1", field("joe", "right"), "joe")
		time.Sleep(time.Minute)
		c.verify = func(context.Context, *auth.Credentials) (*auth.Identity, error) { return nil, context.DeadlineExceeded }
		wantTry(t, g, "192.0.2.1", field("joe", "right"), times(100, "unavailable")...)
		c.verify = judge
		wantTry(t, g, "192.0.2.1", field("joe", "right"), "joe")
	})
}

func TestNamesKeepVerifiersApart(t *testing.T) {
	m, c := auth.NewMemory(), &clerk{verify: judge}
	for i, name := range []string{"", "a", "b", "a", ""} {
		g := auth.NewGate(auth.Options{Verifier: c, Memory: m, Name: name})
		wantTry(t, g, "192.0.2.1", field("joe", "right"), "joe")
		if want := min(i+1, 3); c.count() != want {
			t.Errorf("%d: asked %d times, want %d", i, c.count(), want)
		}
	}
}

// More than it holds push out one another, and nothing grows.
func TestMemoryIsBounded(t *testing.T) {
	if testing.Short() || raceEnabled {
		t.Skip("long")
	}
	m, c := auth.NewMemory(), &clerk{verify: judge}
	if m.Kept() != 0 {
		t.Error("not empty")
	}
	g := auth.NewGate(auth.Options{Verifier: c, Memory: m, Parallel: 8})
	const most = 2 * auth.Capacity
	for i := range most {
		user := fmt.Sprint("u", i)
		wantTry(t, g, "192.0.2.1", field(user, "right"), user)
	}
	if n := m.Kept(); n > auth.Capacity || n < auth.Capacity*9/10 {
		t.Errorf("%d are remembered", n)
	}
	before := c.count()
	for i := range 1000 { // the last ones
		user := fmt.Sprint("u", most-1-i)
		wantTry(t, g, "192.0.2.1", field(user, "right"), user)
	}
	if n := c.count() - before; n > 50 {
		t.Errorf("%d of the last 1000 were forgotten", n)
	}
}
