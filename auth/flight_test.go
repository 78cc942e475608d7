package auth_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"viaduct/auth"
)

// crowd is requests that wait together.
type crowd struct {
	wait sync.WaitGroup
	mu   sync.Mutex // guards said
	said map[string]int
}

func (c *crowd) ask(ctx context.Context, g *auth.Gate, client string, field []byte) {
	c.wait.Go(func() {
		id, err := g.Admit(ctx, addr(client), field)
		word := verdict(err)
		if err == nil {
			word = id.User
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.said == nil {
			c.said = make(map[string]int)
		}
		c.said[word]++
	})
}

func (c *crowd) want(t *testing.T, want map[string]int) {
	t.Helper()
	c.wait.Wait()
	if fmt.Sprint(c.said) != fmt.Sprint(want) {
		t.Errorf("%v, want %v", c.said, want)
	}
	c.said = nil
}

// open is a Verifier that answers when it is let.
func open(let <-chan struct{}) *clerk {
	return &clerk{verify: func(ctx context.Context, c *auth.Credentials) (*auth.Identity, error) {
		select {
		case <-let:
			return judge(ctx, c)
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}}
}

func wantFlights(t *testing.T, g *auth.Gate, flights, waiters, clients int) {
	t.Helper()
	synctest.Wait()
	if f, w, c := g.Flights(); f != flights || w != waiters || c != clients {
		t.Errorf("%d flights with %d waiters of %d clients, want %d, %d, %d", f, w, c, flights, waiters, clients)
	}
}

// A client that opens a hundred connections at once costs one hash.
func TestSameCredentialsAtOnceCostOneHash(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		let := make(chan struct{})
		c := open(let)
		g := auth.NewGate(auth.Options{Verifier: c})
		var all crowd
		for i := range 100 {
			all.ask(t.Context(), g, "192.0.2.1", field("joe", "right"))
			all.ask(t.Context(), g, fmt.Sprintf("::ffff:192.0.2.%d", 2+i%3), field("joe", "right"))
		}
		wantFlights(t, g, 4, 200, 4)
		close(let)
		all.want(t, map[string]int{"joe": 200})
		if c.count() != 1 {
			t.Errorf("asked %d times", c.count())
		}
		wantFlights(t, g, 0, 0, 0)
	})
}

// Wrong ones at once cost one hash, too, and one failure; those of another
// client are its own.
func TestWrongCredentialsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		let := make(chan struct{})
		c := open(let)
		g := auth.NewGate(auth.Options{Verifier: c})
		var all crowd
		for range 50 {
			all.ask(t.Context(), g, "192.0.2.1", field("joe", "guess"))
			all.ask(t.Context(), g, "192.0.2.2", field("joe", "guess"))
		}
		wantFlights(t, g, 2, 100, 2)
		close(let)
		all.want(t, map[string]int{"wrong": 100})
		if c.count() != 2 {
			t.Errorf("asked %d times", c.count())
		}
		wantTry(t, g, "192.0.2.1", field("joe", "guess"), append(times(9, "wrong"), "throttled")...)
	})
}

// A thousand guesses at once are no more than ten one after another.
func TestThrottleCountsWhatIsUnderWay(t *testing.T) {
	for _, parallel := range []int{1, 2, 64} {
		synctest.Test(t, func(t *testing.T) {
			let := make(chan struct{})
			c := open(let)
			g := auth.NewGate(auth.Options{Verifier: c, Parallel: parallel})
			var all crowd
			for i := range auth.MostOfClient {
				all.ask(t.Context(), g, "192.0.2.1", field("joe", fmt.Sprint("guess", i)))
			}
			synctest.Wait()
			close(let)
			all.want(t, map[string]int{"throttled": auth.MostOfClient - 10, "wrong": 10})
			if c.count() != 10 {
				t.Errorf("asked %d times", c.count())
			}
		})
	}
}

// No more are verified at a time than there are slots, whoever asks.
func TestSlots(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		let := make(chan struct{})
		c := open(let)
		g := auth.NewGate(auth.Options{Verifier: c, Parallel: 3})
		var all crowd
		for i := range 50 {
			all.ask(t.Context(), g, fmt.Sprintf("192.0.2.%d", i), field(fmt.Sprint("user", i), "right"))
		}
		synctest.Wait()
		if c.count() != 3 {
			t.Errorf("%d at a time", c.count())
		}
		for i := range 10 {
			let <- struct{}{}
			synctest.Wait()
			if c.count() != 4+i {
				t.Errorf("%d after %d", c.count(), i+1)
			}
		}
		close(let)
		all.wait.Wait()
		if c.count() != 50 || len(all.said) != 50 {
			t.Errorf("%d asked, %v", c.count(), all.said)
		}
	})
}

// Gates of one Memory share the slots for hashes: a reload adds none.
func TestGatesShareSlots(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		let := make(chan struct{})
		m, c := auth.NewMemory(), open(let)
		var all crowd
		for i := range 20 {
			g := auth.NewGate(auth.Options{Verifier: c, Memory: m})
			all.ask(t.Context(), g, "192.0.2.1", field(fmt.Sprint("user", i), "right"))
		}
		synctest.Wait()
		if n := c.count(); n < 1 || n > 8 {
			t.Errorf("%d at a time", n)
		}
		close(let)
		all.wait.Wait()
	})
}

// Waiting for a slot has an end.
func TestBusy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		let := make(chan struct{})
		c := open(let)
		g := auth.NewGate(auth.Options{Verifier: c, Parallel: 1})
		var first, second crowd
		first.ask(t.Context(), g, "192.0.2.1", field("joe", "right"))
		synctest.Wait()
		second.ask(t.Context(), g, "192.0.2.1", field("jane", "right"))
		second.ask(t.Context(), g, "192.0.2.2", field("mia", "right"))
		begin := time.Now()
		second.want(t, map[string]int{"busy": 2})
		if waited := time.Since(begin); waited != auth.Patience {
			t.Errorf("waited %v", waited)
		}
		wantFlights(t, g, 1, 1, 1)
		close(let)
		first.want(t, map[string]int{"joe": 1})
		wantTry(t, g, "192.0.2.1", field("jane", "right"), "jane")
	})
}

// One client fills no more than its share of the queue, and all clients no more
// than the queue. Whoever was right before still has a place and a slot.
func TestQueueIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := auth.NewGate(auth.Options{Parallel: 1, TTL: time.Minute, Verifier: &clerk{
			verify: func(ctx context.Context, c *auth.Credentials) (*auth.Identity, error) {
				if c.Password == "guess" {
					<-ctx.Done()
				}
				if ctx.Err() != nil {
					return nil, ctx.Err()
				}
				return judge(ctx, c)
			},
		}})
		wantTry(t, g, "198.51.100.1", field("joe", "right"), "joe")
		time.Sleep(time.Minute)
		ctx, cancel := context.WithCancel(t.Context())
		var flood crowd
		for i := range 2 * auth.MostOfClient {
			flood.ask(ctx, g, "192.0.2.1", field(fmt.Sprint("user", i), "guess"))
		}
		wantFlights(t, g, auth.MostOfClient, auth.MostOfClient, 1)
		for i := range 2 * auth.MostFlights {
			flood.ask(ctx, g, fmt.Sprintf("10.0.%d.%d", i/200, i%200), field("joe", "guess"))
		}
		wantFlights(t, g, auth.MostFlights, auth.MostFlights, 1+auth.MostFlights-auth.MostOfClient)

		wantTry(t, g, "198.51.100.1", field("joe", "right"), "joe") // at once: no time passes here but by waiting
		wantTry(t, g, "198.51.100.1", field("jane", "right"), "busy")
		cancel()
		flood.want(t, map[string]int{"busy": auth.MostOfClient + 2*auth.MostFlights - (auth.MostFlights - auth.MostOfClient), "canceled": auth.MostFlights})
		wantFlights(t, g, 0, 0, 0)
		wantTry(t, g, "192.0.2.1", field("jane", "right"), "jane")
	})
}

// Many who were right before may stand behind one address, and all come at once.
func TestQueueOfThoseWhoWereRight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &clerk{verify: judge}
		g := auth.NewGate(auth.Options{Verifier: c, TTL: time.Minute})
		const many = 2 * auth.MostOfClient
		users := make(map[string]int)
		for i := range many {
			user := fmt.Sprint("user", i)
			wantTry(t, g, "192.0.2.1", field(user, "right"), user)
			users[user] = 1
		}
		time.Sleep(time.Minute)
		let := make(chan struct{})
		c.verify = open(let).verify
		var all crowd
		for user := range users {
			all.ask(t.Context(), g, "192.0.2.1", field(user, "right"))
		}
		wantFlights(t, g, many, many, 1)
		close(let)
		all.want(t, users)
	})
}

// Who leaves takes nobody along; the last one ends the question.
func TestLeaving(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		let := make(chan struct{})
		c := open(let)
		g := auth.NewGate(auth.Options{Verifier: c})
		patient, cancelLast := context.WithCancel(t.Context())
		hasty, cancel := context.WithCancel(t.Context())
		var all crowd
		all.ask(hasty, g, "192.0.2.1", field("joe", "right"))
		synctest.Wait()
		all.ask(patient, g, "192.0.2.1", field("joe", "right"))
		wantFlights(t, g, 1, 2, 1)
		cancel()
		wantFlights(t, g, 1, 1, 1)
		cancelLast()
		all.want(t, map[string]int{"canceled": 2})
		wantFlights(t, g, 0, 0, 0) // the Verifier was told
		close(let)
		wantTry(t, g, "192.0.2.1", field("joe", "right"), "joe")
		if c.count() != 2 {
			t.Errorf("asked %d times", c.count())
		}
		if _, err := g.Admit(hasty, addr("192.0.2.1"), field("jane", "right")); verdict(err) != "canceled" || c.count() != 2 {
			t.Errorf("who is gone is asked about: %v", err)
		}
		if id, err := g.Admit(hasty, addr("192.0.2.1"), field("joe", "right")); err != nil {
			t.Errorf("%v %v", id, err) // waits for nothing
		}
	})
}

// A hash cannot be ended: who comes back while it runs on gets what it finds out.
func TestHashOfWhoLeftRunsOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		let := make(chan struct{})
		c := &clerk{verify: func(ctx context.Context, c *auth.Credentials) (*auth.Identity, error) { <-let; return judge(ctx, c) }}
		g := auth.NewGate(auth.Options{Verifier: c, Parallel: 1})
		hasty, cancel := context.WithCancel(t.Context())
		var all crowd
		all.ask(hasty, g, "192.0.2.1", field("joe", "right"))
		synctest.Wait()
		cancel()
		all.want(t, map[string]int{"canceled": 1})
		all.ask(t.Context(), g, "192.0.2.1", field("joe", "right"))
		wantFlights(t, g, 1, 1, 1)
		close(let)
		all.want(t, map[string]int{"joe": 1})
		if c.count() != 1 {
			t.Errorf("asked %d times", c.count())
		}
	})
}

// Everything at once, for the race detector.
func TestStorm(t *testing.T) {
	m := auth.NewMemory()
	files := []string{"joe:" + plus + "\njane:" + horse, "joe:" + horse + "\njane:" + plus}
	var wait sync.WaitGroup
	for i := range 8 {
		wait.Go(func() {
			for j := range 200 {
				g := auth.NewGate(auth.Options{Verifier: users(t, files[j/50%2], "ci: joe"), Memory: m, TTL: time.Millisecond, Failed: func(auth.Failure) {}})
				client := fmt.Sprintf("192.0.2.%d", (i+j)%5)
				if got := try(g, client, field("joe", "correct horse")); got != "joe" && got != "busy" && got != "throttled" {
					t.Error(got)
				}
				if got := try(g, client, field("jim", fmt.Sprint(j))); got != "wrong" && got != "busy" && got != "throttled" {
					t.Error(got)
				}
				ctx, cancel := context.WithCancel(t.Context())
				go cancel()
				_, _ = g.Admit(ctx, addr(client), field("jane", "correct horse"))
			}
		})
	}
	wait.Wait()
}
