package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// running is a started proxy.
type running struct {
	port, tlsPort int // port is what the workload connects to: with TLS, both are one
	cmd           *exec.Cmd
	but           []int // descendants of ours that are not the proxy
	exited        chan error
}

// start runs p's command of a kind on the proxy's CPUs, and waits for its port.
// A user other than nil is whom it runs as.
func (b *bench) start(p *proxy, kind string, tls bool, as *syscall.Credential) (*running, error) {
	port, tlsPort := freePort(), freePort()
	for port == tlsPort {
		tlsPort = freePort()
	}
	r := &running{port: port, tlsPort: tlsPort, but: []int{b.origin.Process.Pid}, exited: make(chan error, 1)}
	if tls {
		r.port = tlsPort
	}
	dir := filepath.Join(b.work, "run", p.name)
	pairs := []string{"{dir}", dir, "{port}", strconv.Itoa(port), "{tlsport}", strconv.Itoa(tlsPort), "{kind}", kind}
	for k, v := range b.vars {
		pairs = append(pairs, "{"+k+"}", v)
	}
	fill := strings.NewReplacer(pairs...)
	if err := p.render(dir, fill); err != nil {
		return nil, err
	}
	log, err := os.Create(filepath.Join(dir, "output.log"))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	r.cmd = exec.Command("taskset", "-c", b.proxyCPUs, "sh", "-c", "exec "+fill.Replace(p.cmds[kind]))
	r.cmd.Dir, r.cmd.Stdout, r.cmd.Stderr = dir, log, log
	r.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL, Credential: as}
	if err := r.cmd.Start(); err != nil {
		return nil, err
	}
	go r.wait()
	if err := r.accepts(); err != nil {
		r.stop()
		return nil, err
	}
	bind(r.pids(), cpuList(b.proxyCPUs))
	return r, nil
}

// render makes an empty folder for a run and fills a peer's templates into it.
func (p *proxy) render(dir string, fill *strings.Replacer) error {
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if err := os.Chmod(dir, 0o777); err != nil { // for proxies that change user
		return err
	}
	if p.dir == "" {
		return nil
	}
	files, err := os.ReadDir(p.dir)
	if err != nil {
		return err
	}
	for _, f := range files {
		n := f.Name()
		if f.IsDir() || strings.HasSuffix(n, ".cmd") || strings.HasSuffix(n, ".go") || strings.HasPrefix(n, "go.") {
			continue
		}
		text, err := os.ReadFile(filepath.Join(p.dir, n))
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, n), []byte(fill.Replace(string(text))), 0o644); err != nil {
			return err
		}
	}
	return nil
}

func (r *running) wait() { r.exited <- r.cmd.Wait() }

// accepts waits until the proxy takes connections, and a moment longer, in which
// it starts the rest of itself.
func (r *running) accepts() error {
	var failed error
	open := poll(60*time.Second, func() bool {
		select {
		case err := <-r.exited:
			r.exited <- err
			failed = fmt.Errorf("exited at once (%w): see %s", err, filepath.Join(r.cmd.Dir, "output.log"))
			return true
		default:
			return answers(r.port)
		}
	})
	if failed == nil && !open {
		failed = errors.New("its port does not accept")
	}
	if failed == nil {
		<-time.After(200 * time.Millisecond)
	}
	return failed
}

func answers(port int) bool {
	c, err := net.Dial("tcp", "127.0.0.1:"+strconv.Itoa(port))
	if err == nil {
		c.Close()
	}
	return err == nil
}

// poll asks every 20 ms until done, and tells whether it was within the limit.
func poll(limit time.Duration, done func() bool) bool {
	t := time.NewTicker(20 * time.Millisecond)
	defer t.Stop()
	for end := time.Now().Add(limit); !done(); <-t.C {
		if time.Now().After(end) {
			return false
		}
	}
	return true
}

// pids lists the processes of the proxy. Orphans come to us (see adopt), so a
// proxy that forks away from its parent is found too.
func (r *running) pids() []int { return descendants(os.Getpid(), r.but...) }

// stop asks the proxy to end, and ends it after 5 s.
func (r *running) stop() {
	_ = r.cmd.Process.Signal(syscall.SIGTERM)
	poll(5*time.Second, func() bool {
		r.reap(r.pids(), syscall.WNOHANG)
		return len(r.pids()) == 0
	})
	pids := r.pids()
	for _, p := range pids {
		_ = syscall.Kill(p, syscall.SIGKILL)
	}
	<-r.exited
	r.reap(pids, 0)
}

// reap collects what became our child. The command itself is waited for elsewhere.
func (r *running) reap(pids []int, flags int) {
	for _, p := range pids {
		if p != r.cmd.Process.Pid {
			_, _ = syscall.Wait4(p, nil, flags, nil)
		}
	}
}

// adopt makes orphaned descendants children of this process.
func adopt() {
	const prSetChildSubreaper = 36
	_, _, _ = syscall.RawSyscall6(syscall.SYS_PRCTL, prSetChildSubreaper, 1, 0, 0, 0, 0)
}

// unprivileged is the user whom a proxy without privileges runs as; nil, which is
// whoever we are, when we are not root ourselves.
func unprivileged(name string) (*syscall.Credential, error) {
	if os.Getuid() != 0 {
		return nil, nil
	}
	if id, err := strconv.ParseUint(name, 10, 32); err == nil {
		return &syscall.Credential{Uid: uint32(id), Gid: uint32(id)}, nil
	}
	u, err := user.Lookup(name)
	if err != nil {
		return nil, fmt.Errorf("-user: %w", err)
	}
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		return nil, err
	}
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	if err != nil {
		return nil, err
	}
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
}

// freePort picks a port below the range that outgoing connections use.
func freePort() int {
	for {
		port := 20000 + rand.IntN(12000)
		l, err := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(port))
		if err == nil {
			l.Close()
			return port
		}
	}
}
