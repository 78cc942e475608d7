package auth_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"viaduct/auth"
)

// A client tries the password of a user ten times, and then once in a while.
func TestThrottleOfUser(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &clerk{verify: judge}
		g := auth.NewGate(auth.Options{Verifier: c})
		wrong := field("joe", "guess")
		wantTry(t, g, "192.0.2.1", wrong, times(10, "wrong")...)
		wantTry(t, g, "192.0.2.1", wrong, times(20, "throttled")...)
		wantTry(t, g, "192.0.2.1", field("joe", "right"), "throttled") // nobody finds out
		if c.count() != 10 {
			t.Errorf("asked %d times", c.count())
		}
		time.Sleep(auth.RetryAfter - time.Millisecond)
		wantTry(t, g, "192.0.2.1", wrong, "throttled")
		time.Sleep(time.Millisecond)
		wantTry(t, g, "192.0.2.1", wrong, "wrong", "throttled")
		time.Sleep(2 * auth.RetryAfter)
		wantTry(t, g, "192.0.2.1", wrong, "wrong", "wrong", "throttled")
		time.Sleep(10 * auth.RetryAfter)
		wantTry(t, g, "192.0.2.1", wrong, times(10, "wrong")...)
		wantTry(t, g, "192.0.2.1", wrong, "throttled")
		time.Sleep(auth.RetryAfter)
		wantTry(t, g, "192.0.2.1", field("joe", "right"), "joe")
	})
}

// Failures of a client are nobody else's, and lock no user out.
func TestThrottleTouchesNobodyElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := auth.NewGate(auth.Options{Verifier: &clerk{verify: judge}})
		wantTry(t, g, "192.0.2.1", field("joe", "guess"), append(times(10, "wrong"), "throttled")...)
		wantTry(t, g, "192.0.2.2", field("joe", "right"), "joe")
		wantTry(t, g, "192.0.2.1", field("jane", "right"), "jane")                                    // who is not joe
		wantTry(t, g, "192.0.2.2", field("joe", "guess"), append(times(10, "wrong"), "throttled")...) // has tries of its own
		wantTry(t, g, "192.0.2.3", field("joe", "other"), "wrong")
	})
}

// Many users, one client: the passwords of all of them are not to be guessed
// either.
func TestThrottleOfClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &clerk{verify: judge}
		g := auth.NewGate(auth.Options{Verifier: c})
		for i := range 40 {
			wantTry(t, g, "2001:db8::1", field(fmt.Sprint("user", i), "summer"), "wrong")
		}
		for i := range 40 {
			wantTry(t, g, "2001:db8::1", field(fmt.Sprint("user", i), "summer"), "throttled")
		}
		wantTry(t, g, "2001:db8::1", field("another", "right"), "throttled")
		wantTry(t, g, "192.0.2.1", field("another", "right"), "another")
		wantTry(t, g, "2001:db8::1", field("another", "right"), "another") // verified, whoever showed it
		time.Sleep(3 * time.Second)
		wantTry(t, g, "2001:db8::1", field("mia", "summer"), "wrong", "throttled")
		if c.count() != 42 {
			t.Errorf("asked %d times", c.count())
		}
	})
}

func TestWhatIsOneClient(t *testing.T) {
	for _, tt := range []struct {
		a, b string
		one  bool
	}{
		{"192.0.2.1", "192.0.2.1", true},
		{"192.0.2.1", "::ffff:192.0.2.1", true},
		{"192.0.2.1", "192.0.2.2", false},
		{"192.0.2.1", "::ffff:192.0.2.2", false},
		{"2001:db8::1", "2001:db8::ffff:ffff:ffff:ffff", true},
		{"2001:db8::1", "2001:db8:0:1::1", false},
		{"fe80::1%eth0", "fe80::2%eth1", true},
		{"::1", "127.0.0.1", false},
	} {
		synctest.Test(t, func(t *testing.T) {
			g := auth.NewGate(auth.Options{Verifier: &clerk{verify: judge}})
			wantTry(t, g, tt.a, field("joe", "guess"), times(10, "wrong")...)
			want := map[bool]string{true: "throttled", false: "wrong"}[tt.one]
			wantTry(t, g, tt.b, field("joe", "guess"), want)
		})
	}
	g := auth.NewGate(auth.Options{Verifier: &clerk{verify: judge}})
	if _, err := g.Admit(t.Context(), netip.Addr{}, field("joe", "guess")); verdict(err) != "wrong" {
		t.Error(err)
	}
}

// Whoever is right, or cannot be told, has not failed.
func TestOnlyFailuresCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &clerk{verify: judge}
		g := auth.NewGate(auth.Options{Verifier: c})
		for i := range 1000 {
			user := fmt.Sprint("user", i)
			wantTry(t, g, "192.0.2.1", field(user, "right"), user)
		}
		wantTry(t, g, "192.0.2.1", []byte("Basic nonsense"), times(1000, "malformed")...)
		wantTry(t, g, "192.0.2.1", nil, times(1000, "missing")...)
		for _, broken := range []func(context.Context, *auth.Credentials) (*auth.Identity, error){
			func(context.Context, *auth.Credentials) (*auth.Identity, error) { return nil, errors.New("status 500") },
			func(context.Context, *auth.Credentials) (*auth.Identity, error) {
				return nil, &net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
			},
			func(context.Context, *auth.Credentials) (*auth.Identity, error) { return nil, nil },
			func(context.Context, *auth.Credentials) (*auth.Identity, error) { return new(auth.Identity), nil },
			func(context.Context, *auth.Credentials) (*auth.Identity, error) { panic("a hash that breaks it") },
		} {
			c.verify = broken
			wantTry(t, g, "192.0.2.1", field("joe", "x"), times(100, "unavailable")...)
		}
		c.verify = judge
		wantTry(t, g, "192.0.2.1", field("joe", "x"), append(times(10, "wrong"), "throttled")...)
	})
}

// Where a no takes longer than a yes, silence is an answer: a guesser pays for it.
func TestLateAnswersAreFailures(t *testing.T) {
	for _, late := range []error{
		context.DeadlineExceeded,
		context.Canceled,
		fmt.Errorf("ask example.com: %w", context.DeadlineExceeded),
		&net.OpError{Op: "read", Err: os.ErrDeadlineExceeded},
		&net.DNSError{Name: "example.com", IsTimeout: true},
		os.NewSyscallError("connect", syscall.ETIMEDOUT),
	} {
		t.Run(late.Error(), func(t *testing.T) {
			var told []auth.Failure
			c := &clerk{verify: func(context.Context, *auth.Credentials) (*auth.Identity, error) { return nil, late }}
			synctest.Test(t, func(t *testing.T) {
				g := auth.NewGate(auth.Options{Verifier: c, Failed: func(f auth.Failure) { told = append(told, f) }})
				wantTry(t, g, "192.0.2.1", field("joe", "guess"), append(times(10, "unavailable"), times(90, "throttled")...)...)
				if _, err := g.Admit(t.Context(), addr("192.0.2.2"), field("joe", "guess")); !errors.Is(err, late) {
					t.Errorf("does not tell why: %v", err)
				}
			})
			if c.count() != 11 || len(told) != 11 {
				t.Fatalf("asked %d times, told %d times", c.count(), len(told))
			}
			for i, f := range told[:10] {
				if f != (auth.Failure{Client: addr("192.0.2.1"), User: "joe", Last: i == 9}) {
					t.Errorf("%d: %+v", i, f)
				}
			}
		})
	}
}

// Nor does it help to hang up on whoever is slow to say no.
func TestLeavingIsNoWayToGuess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		told := 0
		c := open(nil)
		g := auth.NewGate(auth.Options{Verifier: c, Failed: func(auth.Failure) { told++ }})
		for i := range 20 {
			ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
			_, err := g.Admit(ctx, addr("192.0.2.1"), field("joe", fmt.Sprint("guess", i)))
			if throttled := verdict(err) == "throttled"; throttled != (i >= 10) {
				t.Errorf("%d: %v", i, err)
			}
			cancel()
			synctest.Wait()
		}
		if c.count() != 10 || told != 10 {
			t.Errorf("asked %d times, told %d times", c.count(), told)
		}
	})
}

func TestUnavailableTellsTheOperatorWhy(t *testing.T) {
	g := auth.NewGate(auth.Options{Verifier: &clerk{verify: func(context.Context, *auth.Credentials) (*auth.Identity, error) { panic("index out of range") }}})
	_, err := g.Admit(t.Context(), addr("192.0.2.1"), field("joe", "secret"))
	if verdict(err) != "unavailable" || !strings.Contains(err.Error(), "index out of range") || !strings.Contains(err.Error(), "failures_test.go") || strings.Contains(err.Error(), "secret") {
		t.Error(err)
	}
}

// Credentials that were right pass while their client is throttled, also when
// they have to be asked about again.
func TestVerifiedPassWhileThrottled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &clerk{verify: judge}
		g := auth.NewGate(auth.Options{Verifier: c, TTL: time.Minute})
		wantTry(t, g, "192.0.2.1", field("joe", "right"), "joe")
		for range 20 {
			wantTry(t, g, "192.0.2.1", field("joe", "right"), "joe")
			for i := range 41 {
				try(g, "192.0.2.1", field("joe", "guess"))
				try(g, "192.0.2.1", field(fmt.Sprint("u", i), "guess"))
			}
			wantTry(t, g, "192.0.2.1", field("joe", "guess"), "throttled")
			wantTry(t, g, "192.0.2.1", field("joe", "right"), "joe")
			time.Sleep(10 * time.Second)
		}
	})
}

func TestOverlongCredentialsAreFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &clerk{verify: judge}
		g := auth.NewGate(auth.Options{Verifier: c})
		overlong := []byte("Basic " + strings.Repeat("x", auth.Longest+1))
		wantTry(t, g, "192.0.2.1", overlong, append(times(10, "wrong"), "throttled")...)
		wantTry(t, g, "192.0.2.1", field("joe", "guess"), "wrong")
		wantTry(t, g, "192.0.2.2", overlong, "wrong")
		if c.count() != 1 {
			t.Errorf("asked %d times", c.count())
		}
	})
}

// The operator is told of failures, no oftener than the throttle allows, and of
// the last one as the last one. Overlong credentials are nobody's guess.
func TestFailuresAreTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var told []auth.Failure
		g := auth.NewGate(auth.Options{Verifier: &clerk{verify: judge}, Failed: func(f auth.Failure) { told = append(told, f) }})
		for range 100 {
			try(g, "192.0.2.1", field("joe", "guess"))
		}
		wantTry(t, g, "192.0.2.2", []byte("Basic "+strings.Repeat("x", auth.Longest+1)), "wrong")
		wantTry(t, g, "192.0.2.2", field("joe", "right"), "joe")
		if len(told) != 10 {
			t.Fatalf("told %d times", len(told))
		}
		for i, f := range told {
			if f != (auth.Failure{Client: addr("192.0.2.1"), User: "joe", Last: i == 9}) {
				t.Errorf("%d: %+v", i, f)
			}
		}
	})
}

// Whoever has a million addresses does not make room for the one that is
// throttled.
func TestFloodPushesNoThrottledClientOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := auth.NewMemory()
		guilty := addr("192.0.2.1")
		if m.Spent(guilty, "joe") {
			t.Error("guilty of nothing")
		}
		for range 10 {
			if !m.Fail(guilty, "joe") {
				t.Error("throttled early")
			}
		}
		for i := range 1 << 20 {
			flood := netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
			if !m.Fail(flood, fmt.Sprint(i&7)) {
				t.Fatal("somebody else is throttled")
			}
		}
		if !m.Spent(guilty, "joe") || m.Spent(addr("192.0.2.2"), "joe") {
			t.Error("a flood made room")
		}
		time.Sleep(auth.RetryAfter)
		if m.Spent(guilty, "joe") {
			t.Error("throttled for ever")
		}
	})
}
