package test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"
)

// act is what this binary does when it is started again as a helper, with
// descriptors of its own.
func act(role string) int {
	var err error
	switch words := strings.Fields(role); words[0] {
	case "echo":
		err = actEcho()
	case "hold":
		err = actHold(words[1], words[2], atoi(words[3]))
	default:
		err = fmt.Errorf("no role %q", role)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// actEcho is an origin that echoes until standard input ends.
func actEcho() error {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Fprintln(os.Stdout, ln.Addr())
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				buf := make([]byte, 64)
				for {
					n, err := conn.Read(buf)
					if err != nil {
						return
					}
					conn.Write(buf[:n])
				}
			}()
		}
	}()
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

// actHold opens n tunnels to target through proxy and says so; then, for each
// line on standard input, it sends a byte through each and reads its echo.
func actHold(proxy, target string, n int) error {
	conns := make([]net.Conn, n)
	if err := each(n, func(i int) (err error) {
		conns[i], err = openTunnel(proxy, target)
		return err
	}); err != nil {
		return err
	}
	fmt.Fprintln(os.Stdout, "open")
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		if err := each(n, func(i int) error {
			conns[i].SetDeadline(time.Now().Add(patience))
			buf := []byte{byte(i)}
			if _, err := conns[i].Write(buf); err != nil {
				return err
			}
			if _, err := io.ReadFull(conns[i], buf); err != nil || buf[0] != byte(i) {
				return fmt.Errorf("tunnel %d: %v, %w", i, buf, err)
			}
			return nil
		}); err != nil {
			return err
		}
		fmt.Fprintln(os.Stdout, "alive")
	}
	return nil
}

// each runs f for 0 to n-1 on 16 goroutines and returns the first errors.
func each(n int, f func(i int) error) error { return eachOf(16, n, f) }

func eachOf(hands, n int, f func(i int) error) error {
	var wg sync.WaitGroup
	var mu sync.Mutex
	var errs []error
	for hand := range hands {
		wg.Go(func() {
			for i := hand; i < n; i += hands {
				if err := f(i); err != nil {
					mu.Lock()
					errs = append(errs, err)
					mu.Unlock()
					return
				}
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// openTunnel opens a tunnel without the help of a test.
func openTunnel(proxy, target string) (net.Conn, error) {
	conn, err := net.DialTimeout("tcp", proxy, patience)
	if err != nil {
		return nil, err
	}
	conn.SetDeadline(time.Now().Add(patience))
	if _, err := fmt.Fprintf(conn, "CONNECT %s HTTP/1.1\r\nHost: %s\r\n\r\n", target, target); err != nil {
		return nil, err
	}
	// Byte by byte, so that nothing of the tunnel is read ahead.
	head := make([]byte, 0, 128)
	for b := make([]byte, 1); !strings.HasSuffix(string(head), "\r\n\r\n"); head = append(head, b[0]) {
		if _, err := io.ReadFull(conn, b); err != nil {
			return nil, fmt.Errorf("CONNECT: %q, %w", head, err)
		}
	}
	if !strings.HasPrefix(string(head), "HTTP/1.1 200") {
		return nil, fmt.Errorf("CONNECT: %q", head)
	}
	conn.SetDeadline(time.Time{})
	return conn, nil
}

// helper is this binary as another process.
type helper struct {
	process *os.Process
	in      io.WriteCloser
	said    chan string
}

func helping(t *testing.T, role ...any) *helper {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), "TEST_ROLE="+strings.TrimSuffix(fmt.Sprintln(role...), "\n"))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	h := &helper{said: make(chan string, 8)}
	if h.in, err = cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	h.process = cmd.Process
	go func() {
		for lines := bufio.NewScanner(out); lines.Scan(); {
			h.said <- lines.Text()
		}
		close(h.said)
	}()
	t.Cleanup(func() {
		h.in.Close()
		late := time.AfterFunc(patience, func() { cmd.Process.Kill() })
		defer late.Stop()
		cmd.Wait() // what it had to say it has said
	})
	return h
}

// hears waits for the next line of the helper; work may take long.
func (h *helper) hears(t *testing.T) string {
	t.Helper()
	select {
	case line, ok := <-h.said:
		if !ok {
			t.Fatal("the helper ended; its words are above")
		}
		return line
	case <-time.After(4 * patience):
		t.Fatal("the helper says nothing")
		return ""
	}
}
