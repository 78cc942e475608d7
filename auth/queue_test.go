package auth_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"viaduct/auth"
)

// ahead lets a Verifier answer one question after another until it is asked about
// the newcomer, and returns how many questions came before.
func ahead(t *testing.T, c *clerk, let chan<- struct{}) int {
	t.Helper()
	for {
		synctest.Wait()
		c.mu.Lock()
		for i, asked := range c.asked {
			if asked == "newcomer:right" {
				c.mu.Unlock()
				return i
			}
		}
		n := len(c.asked)
		c.mu.Unlock()
		if n > 200 {
			t.Error("the newcomer's turn does not come")
			return n
		}
		let <- struct{}{}
	}
}

// However many credentials a crowd has in the queue, a newcomer is behind those
// that are verified, one of each address, and as many as there are slots.
func TestNewcomerDoesNotWaitBehindACrowd(t *testing.T) {
	const addresses, each = 6, 20
	for _, slots := range []int{1, 2, 4} {
		for _, failed := range []bool{false, true} {
			t.Run(fmt.Sprint(slots, " slots, failed ", failed), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					m, let := auth.NewMemory(), make(chan struct{})
					c := open(let)
					g := auth.NewGate(auth.Options{Verifier: c, Memory: m, Parallel: slots})
					most := 2*slots + addresses
					if failed {
						most = 2 * slots
					}
					var all, newcomer crowd
					for i := range addresses {
						client := fmt.Sprintf("192.0.2.%d", i)
						if failed {
							m.Fail(addr(client), "joe")
						}
						for j := range each {
							all.ask(t.Context(), g, client, field(fmt.Sprint("user", j), "guess"))
						}
					}
					wantFlights(t, g, addresses*each, addresses*each, addresses)
					newcomer.ask(t.Context(), g, "198.51.100.1", field("newcomer", "right"))
					if n := ahead(t, c, let); n > most {
						t.Errorf("%d were ahead, want at most %d", n, most)
					}
					close(let)
					newcomer.want(t, map[string]int{"newcomer": 1})
					all.want(t, map[string]int{"wrong": addresses * each})
				})
			})
		}
	}
}

// A crowd takes no more than its part of the places, and leaves some for others.
func TestCrowdLeavesPlaces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		let := make(chan struct{})
		g := auth.NewGate(auth.Options{Verifier: open(let), Parallel: 1})
		const addresses = 40
		var all crowd
		for i := range addresses {
			for j := range auth.MostOfClient {
				all.ask(t.Context(), g, fmt.Sprintf("192.0.2.%d", i), field(fmt.Sprint("user", j), "guess"))
			}
			synctest.Wait()
		}
		flights, _, clients := g.Flights()
		if flights < auth.MostSuspected || flights > auth.MostSuspected+addresses || clients != addresses {
			t.Errorf("%d flights of %d clients", flights, clients)
		}
		all.ask(t.Context(), g, "198.51.100.1", field("newcomer", "right"))
		wantFlights(t, g, flights+1, flights+1, addresses+1)
		close(let)
		all.want(t, map[string]int{"busy": addresses*auth.MostOfClient - flights, "newcomer": 1, "wrong": flights})
	})
}

// Who is suspected waits longer, but not for ever, and is let in when alone.
func TestSuspectsAreServed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &clerk{verify: judge}
		g := auth.NewGate(auth.Options{Verifier: c, Parallel: 2})
		wantTry(t, g, "192.0.2.1", field("joe", "guess"), "wrong")
		wantTry(t, g, "192.0.2.1", field("joe", "right"), "joe")
		users := make(map[string]int)
		var all crowd
		for i := range auth.MostOfClient { // as those behind one address who all come in the morning
			user := fmt.Sprint("user", i)
			all.ask(t.Context(), g, "192.0.2.1", field(user, "right"))
			users[user] = 1
		}
		all.want(t, users)
		wantFlights(t, g, 0, 0, 0)
	})
}

// Whoever leaves, or gets no turn, leaves no place taken.
func TestSuspectsLeaveTheQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		let := make(chan struct{})
		g := auth.NewGate(auth.Options{Verifier: open(let), Parallel: 1})
		ctx, cancel := context.WithCancel(t.Context())
		var first, gone, late crowd
		first.ask(t.Context(), g, "192.0.2.1", field("joe", "right"))
		synctest.Wait()
		for i := range 5 {
			gone.ask(ctx, g, "192.0.2.1", field(fmt.Sprint("gone", i), "right"))
		}
		wantFlights(t, g, 6, 6, 1)
		cancel()
		gone.want(t, map[string]int{"canceled": 5})
		for i := range 5 {
			late.ask(t.Context(), g, "192.0.2.1", field(fmt.Sprint("late", i), "right"))
		}
		begin := time.Now()
		late.want(t, map[string]int{"busy": 5})
		if waited := time.Since(begin); waited != auth.Patience {
			t.Errorf("waited %v", waited)
		}
		wantFlights(t, g, 1, 1, 1)
		close(let)
		first.want(t, map[string]int{"joe": 1})
		wantTry(t, g, "192.0.2.1", field("jane", "right"), "jane")
	})
}

// A log that is slow keeps no slot from others.
func TestFailedIsToldWithoutASlot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		written := make(chan struct{})
		g := auth.NewGate(auth.Options{Verifier: &clerk{verify: judge}, Parallel: 1, Failed: func(auth.Failure) { <-written }})
		var all crowd
		all.ask(t.Context(), g, "192.0.2.1", field("joe", "guess"))
		wantFlights(t, g, 1, 1, 1)
		wantTry(t, g, "192.0.2.2", field("jane", "right"), "jane")
		close(written)
		all.want(t, map[string]int{"wrong": 1})
	})
}

// What is recalled is what Admit says without asking, and nothing else.
func TestRecall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &clerk{verify: judge}
		g := auth.NewGate(auth.Options{Verifier: c, TTL: time.Minute})
		joe := field("joe", "right")
		recalls := func(client string, field []byte, want bool) {
			t.Helper()
			if id, ok := g.Recall(addr(client), field); ok != want || ok != (id != nil) || ok && id.User != "joe" {
				t.Errorf("%v, %v, want %v", id, ok, want)
			}
		}
		recalls("192.0.2.1", joe, false)
		wantTry(t, g, "192.0.2.1", joe, "joe")
		recalls("192.0.2.1", joe, true)
		recalls("192.0.2.2", joe, true)
		recalls("192.0.2.1", append([]byte("basic   "), joe[len("Basic "):]...), true)
		for _, in := range [][]byte{nil, {}, []byte("Basic"), []byte("Bearer x"), joe[:len(joe)-1], field("joe", "guess"), field("", ""), append(joe, make([]byte, auth.Longest)...)} {
			recalls("192.0.2.1", in, false)
		}
		c.still = func(*auth.Identity) (*auth.Identity, bool) { return nil, false }
		recalls("192.0.2.1", joe, false)
		c.still = nil
		time.Sleep(time.Minute)
		recalls("192.0.2.1", joe, false) // only Admit may ask again
		if c.count() != 1 {
			t.Errorf("asked %d times", c.count())
		}
		wantTry(t, g, "192.0.2.1", joe, "joe")
		recalls("192.0.2.1", joe, true)
	})
}
