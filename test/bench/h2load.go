package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// h2load runs a workload of h2load: a short run to learn the rate, then as many
// requests as fit the time. It checks no bodies; its own count of failures is taken.
func (b *bench) h2load(w workload, r *running, s *sample) error {
	log := filepath.Join(b.work, "h2load.log")
	url := fmt.Sprintf("https://127.0.0.1:%d%s", r.tlsPort, bytesPath(small))
	began := time.Now()
	const few = 2000
	if _, _, err := b.runH2load(w, few, url); err != nil {
		return err
	}
	n := max(few, int(b.seconds*few/time.Since(began).Seconds()))
	if err := os.RemoveAll(log); err != nil {
		return err
	}
	before := b.usage(r)
	began = time.Now()
	out, gen, err := b.runH2load(w, n, url, "--log-file="+log)
	secs := time.Since(began).Seconds()
	after := b.usage(r)
	if err != nil {
		return err
	}
	after.gen += gen
	good, bad := countH2load(string(out))
	lat, refused, err := readH2load(log)
	if err != nil {
		return err
	}
	b.fill(s, before, after, good, secs)
	s.P50, s.P99 = quantile(lat, 0.5), quantile(lat, 0.99)
	s.Errors = bad + refused
	if good == 0 {
		return errors.New("h2load: no request succeeded")
	}
	return nil
}

// countH2load reads how many requests succeeded, and how many did not.
func countH2load(out string) (good, bad int64) {
	for line := range strings.Lines(out) {
		var total, started, done, failed, errored, timeout int64
		n, _ := fmt.Sscanf(line, "requests: %d total, %d started, %d done, %d succeeded, %d failed, %d errored, %d timeout",
			&total, &started, &done, &good, &failed, &errored, &timeout)
		if n == 7 {
			return good, failed + errored + timeout
		}
	}
	return 0, 0
}

// readH2load reads the log of h2load: sorted latencies in nanoseconds, and the
// number of answers other than 200.
func readH2load(log string) (lat []int64, refused int64, err error) {
	f, err := os.Open(log)
	if err != nil {
		return nil, 0, err
	}
	defer f.Close()
	sc := bufio.NewScanner(f)
	for sc.Scan() {
		if v := strings.Fields(sc.Text()); len(v) == 3 {
			if v[1] != "200" {
				refused++
			}
			lat = append(lat, atoi([]byte(v[2]))*1000)
		}
	}
	slices.Sort(lat)
	return lat, refused, sc.Err()
}

// runH2load answers the output of h2load and the CPU seconds it used.
func (b *bench) runH2load(w workload, n int, url string, more ...string) ([]byte, float64, error) {
	limit := span(b.seconds*5 + 10)
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	args := slices.Concat([]string{"-n", strconv.Itoa(n)}, w.h2load, more, []string{url})
	cmd := exec.CommandContext(ctx, "h2load", args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := cmd.Output()
	if ctx.Err() != nil {
		return nil, 0, fmt.Errorf("h2load not done after %v", limit)
	}
	if err != nil {
		return nil, 0, fmt.Errorf("h2load: %w", err)
	}
	return out, (cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Seconds(), nil
}
