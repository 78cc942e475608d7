package server_test

import (
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

func TestZZDrainLoss(t *testing.T) {
	for range 10 {
		at, guests := origin(t)
		go func() {
			for c := range guests {
				go func() {
					for {
						b := make([]byte, 4096)
						if _, err := c.Read(b); err != nil { c.Close(); return }
						time.Sleep(2 * time.Millisecond)
						_, _ = io.WriteString(c, answer)
					}
				}()
			}
		}()
		r := run(t, plain("127.0.0.1:0"))
		addr := r.addrs()[0]
		var served, lostDial, lost atomic.Int64
		var wg sync.WaitGroup
		for range 40 {
			wg.Go(func() {
				for {
					c, err := net.Dial("tcp", addr)
					if err != nil {
						if !errors.Is(err, syscall.ECONNREFUSED) { lostDial.Add(1) }
						return
					}
					_, err = io.WriteString(c, get(at))
					var b []byte
					if err == nil {
						buf := make([]byte, 4096)
						for !strings.HasSuffix(string(b), "ok") {
							n, e := c.Read(buf)
							b = append(b, buf[:n]...)
							if e != nil { err = e; break }
						}
					}
					_ = c.Close()
					if err != nil { lost.Add(1); return }
					served.Add(1)
				}
			})
		}
		time.Sleep(300 * time.Millisecond)
		r.stop()
		wg.Wait()
		t.Log(r.finish(), "served", served.Load(), "lost", lost.Load(), "lost dial", lostDial.Load())
	}
}
