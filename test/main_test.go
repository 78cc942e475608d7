// Package test looks at the built binary from outside: real sockets on the
// loopback, scripted origins that write down what they received, and clients
// that write bytes.
package test

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"
)

// patience bounds every wait of this package. It is long, because the machine
// may be busy; nothing passes because of it.
const patience = 15 * time.Second

// workshop is the directory of the built binary, gone when the tests end.
var workshop = sync.OnceValues(func() (string, error) { return os.MkdirTemp("", "viaduct-test-") })

// build compiles the binary once. VIADUCT_RACE=1 compiles it with the race
// detector.
var build = sync.OnceValues(func() (string, error) {
	dir, err := workshop()
	if err != nil {
		return "", err
	}
	bin := filepath.Join(dir, "viaduct")
	args := []string{"build", "-o", bin}
	if raced() {
		args = append(args, "-race")
	}
	cmd := exec.Command("go", append(args, ".")...)
	cmd.Dir = ".."
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return bin, nil
})

// raced reports whether the binary is built with the race detector, which
// makes its memory figures meaningless.
func raced() bool { return os.Getenv("VIADUCT_RACE") != "" }

// long reports whether the figures of the long run were asked for.
func long() bool { return os.Getenv("VIADUCT_LONG") != "" }

func TestMain(m *testing.M) {
	if role := os.Getenv("TEST_ROLE"); role != "" {
		os.Exit(act(role))
	}
	flag.Parse()
	// Rows wait for sockets, not for the processor.
	if err := flag.Set("test.parallel", "12"); err != nil {
		panic(err)
	}
	code := m.Run()
	if dir, err := workshop(); err == nil {
		os.RemoveAll(dir)
	}
	os.Exit(code)
}

// poll waits until cond holds and fails the test when it never does.
func poll(t testing.TB, what string, cond func() bool) {
	t.Helper()
	if !eventually(patience, cond) {
		t.Fatalf("not within %v: %s", patience, what)
	}
}

// eventually polls cond until it holds or the time is over.
func eventually(within time.Duration, cond func() bool) bool {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	end := time.Now().Add(within)
	for !cond() {
		if time.Now().After(end) {
			return false
		}
		<-tick.C
	}
	return true
}

// pause is the sleep of a scripted slow peer, nothing else.
func pause(d time.Duration) { <-time.After(d) }

// receive takes one value from ch or fails the test.
func receive[T any](t testing.TB, what string, ch <-chan T) T {
	t.Helper()
	select {
	case v := <-ch:
		return v
	case <-time.After(patience):
		t.Fatalf("not within %v: %s", patience, what)
		panic("unreachable")
	}
}

// timed tells whether err is our own impatience.
func timed(err error) bool { return errors.Is(err, os.ErrDeadlineExceeded) }

func atoi(s string) int {
	n, err := strconv.Atoi(s)
	if err != nil {
		panic(err)
	}
	return n
}
