// Bench measures HTTP proxies as black boxes, side by side, one at a time.
package main

import (
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// bench is the running harness: the origin, the generator's filler, and what the
// commands of proxies are told.
type bench struct {
	*options
	cpus    int // of the proxy
	origins []int
	parents []int
	secure  int // the origin's port that speaks TLS
	nowhere int // a port that nobody answers at
	origin  *exec.Cmd
	file    bulk
	vars    map[string]string
	denied  string // a name of the list
	ca      *x509.CertPool
}

func newBench(o *options) (*bench, error) {
	var err error
	if o.work, err = filepath.Abs(o.work); err != nil {
		return nil, err
	}
	bin := filepath.Join(o.work, "bin")
	if err := os.MkdirAll(bin, 0o755); err != nil {
		return nil, err
	}
	b := &bench{options: o, cpus: len(cpuList(o.proxyCPUs)), vars: map[string]string{"bin": bin}}
	files, err := raiseFiles()
	if err != nil {
		return nil, err
	}
	if want := 2*max(o.idle, o.beside) + 200; files < want {
		fmt.Fprintf(os.Stderr, "warning: %d open files are too few for %d tunnels: a proxy needs two each or more\n", files, max(o.idle, o.beside))
	}
	b.vars["nofile"] = strconv.Itoa(files)
	if err := b.writeFiles(); err != nil {
		return nil, err
	}
	if b.file, err = newBulk(); err != nil {
		return nil, err
	}
	if b.nowhere, err = deadPort(); err != nil {
		return nil, err
	}
	return b, b.startOrigin()
}

// startOrigin starts the origin, as a process of its own so that its CPU time is
// its own, and waits until it answers.
func (b *bench) startOrigin() error {
	var ports, hosts []string
	for i := range 4 {
		p := freePort()
		b.origins = append(b.origins, p)
		ports = append(ports, strconv.Itoa(p))
		hosts = append(hosts, "127.0.0.1:"+ports[i])
		b.vars[fmt.Sprintf("origin%d", i+1)] = hosts[i]
	}
	b.vars["origin"], b.vars["origins"] = hosts[0], strings.Join(hosts, ",")
	parents := b.chooseParents()
	b.secure = freePort()
	self, err := os.Executable()
	if err != nil {
		return err
	}
	b.origin = exec.Command(self, "-origin", strings.Join(ports, ","), "-origin-parent", parents,
		"-origin-tls", strconv.Itoa(b.secure), "-origin-cert", b.vars["certkey"])
	b.origin.Stderr = os.Stderr
	b.origin.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := b.origin.Start(); err != nil {
		return err
	}
	if !poll(5*time.Second, func() bool { return answers(b.parents[3]) && answers(b.secure) }) {
		b.close()
		return errors.New("the origin does not answer")
	}
	return nil
}

// chooseParents chooses the ports of the parents, and lists them.
func (b *bench) chooseParents() string {
	var ports []string
	for i := range 4 {
		b.parents = append(b.parents, freePort())
		port, n := strconv.Itoa(b.parents[i]), strconv.Itoa(i+1)
		ports = append(ports, port)
		b.vars["parent"+n], b.vars["parentport"+n] = "127.0.0.1:"+port, port
	}
	b.vars["parent"], b.vars["parentport"] = b.vars["parent1"], ports[0]
	return strings.Join(ports, ",")
}

func (b *bench) close() {
	_ = b.origin.Process.Kill()
	_ = b.origin.Wait()
}

// raiseFiles raises the limit of open files, which proxies inherit, as far as
// allowed, and returns it.
func raiseFiles() (int, error) {
	var lim syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &lim); err != nil {
		return 0, err
	}
	lim.Cur = lim.Max
	return int(lim.Cur), syscall.Setrlimit(syscall.RLIMIT_NOFILE, &lim)
}

// deadPort holds a port without listening there: who connects is refused.
func deadPort() (int, error) {
	fd, err := tcpSocket()
	if err != nil {
		return 0, err
	}
	port := freePort()
	return port, syscall.Bind(fd, loopback(port))
}
