package auth_test

import (
	"context"
	"encoding/base64"
	"errors"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"sync"
	"testing"
	"time"

	"viaduct/auth"
)

// long is how long a test waits for what must happen.
const long = time.Minute

// TestMain fails the package if goroutines are left.
func TestMain(m *testing.M) {
	routines := runtime.NumGoroutine()
	code := m.Run()
	fuzzing := flag.Lookup("test.fuzz").Value.String() != "" // has goroutines of its own
	if !fuzzing && !eventually(func() bool { return runtime.NumGoroutine() <= routines }) {
		buf := make([]byte, 1<<20)
		fmt.Printf("goroutines are left\n%s\n", buf[:runtime.Stack(buf, true)])
		code = 1
	}
	os.Exit(code)
}

func eventually(look func() bool) bool {
	for end := time.Now().Add(long); ; <-time.After(2 * time.Millisecond) {
		if look() {
			return true
		}
		if time.Now().After(end) {
			return false
		}
	}
}

// clerk is a Verifier that does what it is told, and writes down what it was
// asked.
type clerk struct {
	verify func(ctx context.Context, c *auth.Credentials) (*auth.Identity, error)
	still  func(id *auth.Identity) (*auth.Identity, bool)

	mu    sync.Mutex // guards asked
	asked []string
}

func (c *clerk) Verify(ctx context.Context, asked *auth.Credentials) (*auth.Identity, error) {
	c.mu.Lock()
	c.asked = append(c.asked, asked.User+":"+asked.Password)
	c.mu.Unlock()
	return c.verify(ctx, asked)
}

func (c *clerk) Still(id *auth.Identity) (*auth.Identity, bool) {
	if c.still == nil {
		return id, true
	}
	return c.still(id)
}

func (c *clerk) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.asked)
}

// judge says yes to the password "right".
func judge(_ context.Context, c *auth.Credentials) (*auth.Identity, error) {
	if c.Password == "right" {
		return &auth.Identity{User: c.User}, nil
	}
	return nil, auth.ErrWrong
}

// field is the value of a header with credentials.
func field(user, password string) []byte {
	return []byte("Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password)))
}

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

// verdict is a word for what Admit returns.
func verdict(err error) string {
	if err == nil {
		return "ok"
	}
	for _, v := range []struct {
		word string
		is   error
	}{
		{"missing", auth.ErrMissing},
		{"malformed", auth.ErrMalformed},
		{"wrong", auth.ErrWrong},
		{"throttled", auth.ErrThrottled},
		{"busy", auth.ErrBusy},
		{"unavailable", auth.ErrUnavailable},
		{"canceled", context.Canceled},
	} {
		if errors.Is(err, v.is) {
			return v.word
		}
	}
	return "another: " + err.Error()
}

// try asks a gate, and returns its verdict, or the name of who was admitted.
func try(g *auth.Gate, client string, field []byte) string {
	id, err := g.Admit(context.Background(), addr(client), field)
	if (id == nil) == (err == nil) {
		return fmt.Sprintf("both or none: %v, %v", id, err)
	}
	if err != nil {
		return verdict(err)
	}
	return id.User
}

// wantTry holds what the next times say.
func wantTry(t *testing.T, g *auth.Gate, client string, field []byte, want ...string) {
	t.Helper()
	for i, w := range want {
		if got := try(g, client, field); got != w {
			t.Errorf("%s, time %d: %s, want %s", client, i+1, got, w)
		}
	}
}

// times is a verdict so many times.
func times(n int, verdict string) []string {
	all := make([]string, n)
	for i := range all {
		all[i] = verdict
	}
	return all
}

// users reads files that must be right.
func users(t testing.TB, text, groups string) *auth.Users {
	t.Helper()
	u, err := auth.ParseUsers([]byte(text), []byte(groups))
	if err != nil {
		t.Fatal(err)
	}
	return u
}
