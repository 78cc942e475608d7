package wire_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime/pprof"
	"strings"
	"testing"
	"time"

	"viaduct/wire"
)

// TestMain wants nothing to be left of the tests: no goroutine, no socket, and
// no buffer that was given back twice.
func TestMain(m *testing.M) {
	flag.Parse()
	before := goroutines()
	code := m.Run()
	if fuzzing := flag.Lookup("test.fuzz").Value.String() != ""; code == 0 && !fuzzing {
		code = leaks(before)
	}
	os.Exit(code)
}

func goroutines() int { return pprof.Lookup("goroutine").Count() }

// leaks is the exit code of the package.
func leaks(before int) int {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(patience); goroutines() > before || sockets() > 0; <-tick.C {
		if time.Now().After(end) {
			fmt.Fprintf(os.Stderr, "%d goroutines, %d before; %d sockets\n", goroutines(), before, sockets())
			pprof.Lookup("goroutine").WriteTo(os.Stderr, 1)
			return 1
		}
	}
	seen := map[*wire.Buffer]bool{}
	for range 1000 {
		b := wire.NewBuffer()
		if seen[b] {
			fmt.Fprintln(os.Stderr, "a buffer was given back twice")
			return 1
		}
		seen[b] = true
	}
	return 0
}

// sockets counts the open ones, where the system tells.
func sockets() (n int) {
	list, err := filepath.Glob("/proc/self/fd/*")
	if err != nil {
		return 0
	}
	for _, f := range list {
		if to, err := os.Readlink(f); err == nil && strings.HasPrefix(to, "socket:") {
			n++
		}
	}
	return n
}
