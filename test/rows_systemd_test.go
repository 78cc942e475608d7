package test

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
)

var systemdRows = []row{
	{"product-8/notify", "–", "sd_notify: READY=1 when it serves, RELOADING=1 with MONOTONIC_USEC and READY=1 around a reload, STOPPING=1 when it drains.", own, notify},
	{"product-8/notify-failed-reload", "–", "A reload that fails ends with READY=1, too; a start that fails never says it.", own, notifyFailures},
	{"product-8/watchdog", "–", "With WATCHDOG_USEC, WATCHDOG=1 comes again and again; without it, never.", own, watchdog},
	{"product-8/no-systemd", "–", "A notify socket that is not there does not keep it from serving.", own, noSystemd},
	{"product-8/socket-activation", "–", "A socket that systemd passes is served, not opened a second time; clients who came before the start are served; reloads keep it.", own, socketActivation},
	{"product-8/socket-unmatched", "–", "A passed socket that nothing in the configuration listens on: exit 2, and its address is named.", own, socketUnmatched},
	{"product-8/socket-of-others", "–", "Sockets meant for another process, by LISTEN_PID, are left alone.", own, socketOfOthers},
}

// unixgram is a socket as systemd listens on it, and what came in.
func unixgram(t testing.TB) (path string, said chan string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	said = make(chan string, 256)
	go func() {
		for buf := make([]byte, 4096); ; {
			n, err := conn.Read(buf)
			if err != nil {
				return
			}
			said <- string(buf[:n])
		}
	}()
	return path, said
}

// sayings waits for words to systemd, and returns all until then.
func sayings(t testing.TB, said <-chan string, words string) (all []string) {
	t.Helper()
	for {
		s := receive(t, words, said)
		if all = append(all, s); strings.Contains(s, words) {
			return all
		}
	}
}

var reloadingSaid = regexp.MustCompile(`^RELOADING=1\nMONOTONIC_USEC=[1-9]\d*\n?$`)

func notify(t *testing.T, _ *proxy) {
	path, said := unixgram(t)
	p := launch{conf: conf(), env: []string{"NOTIFY_SOCKET=" + path}}.start(t)
	if all := sayings(t, said, "READY=1"); len(all) != 1 {
		t.Errorf("before READY=1 it said %q", all)
	}
	pass(t, p, "GET http://{O}/ HTTP/1.1", "Host: {O}")
	for range 2 {
		p.reload(t, conf())
		if s := receive(t, "RELOADING=1", said); !reloadingSaid.MatchString(s) {
			t.Errorf("a reload begins with %q", s)
		}
		if s := receive(t, "READY=1", said); !strings.HasPrefix(s, "READY=1") {
			t.Errorf("a reload ends with %q", s)
		}
	}
	c, _ := stage(t, p, echo)
	c.tunnel("{O}").send("ping").read("ping")
	p.signal(t, syscall.SIGTERM)
	sayings(t, said, "STOPPING=1")
	if p.over() {
		t.Error("STOPPING=1 came after the end")
	}
	c.closeWrite()
	c.endsOrderly()
	if code := p.wait(t); code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}
}

func notifyFailures(t *testing.T, _ *proxy) {
	path, said := unixgram(t)
	env := []string{"NOTIFY_SOCKET=" + path}
	p := launch{conf: conf(), env: env}.start(t)
	sayings(t, said, "READY=1")
	p.write(t, "nonsense")
	p.signal(t, syscall.SIGHUP)
	sayings(t, said, "RELOADING=1")
	sayings(t, said, "READY=1")
	p.stop(t)
	sayings(t, said, "STOPPING=1")
	o := newOrigin(t, echo)
	complains(t, 2, env, []string{"forward", "--listen", o.addr}, []string{o.addr})
	for len(said) > 0 {
		if s := <-said; strings.Contains(s, "READY=1") {
			t.Errorf("a start that fails says %q", s)
		}
	}
}

func watchdog(t *testing.T, _ *proxy) {
	path, said := unixgram(t)
	launch{flags: lenient, env: []string{"NOTIFY_SOCKET=" + path, "WATCHDOG_USEC=600000"}}.start(t)
	sayings(t, said, "READY=1")
	for range 4 {
		sayings(t, said, "WATCHDOG=1")
	}
	path, said = unixgram(t)
	p := launch{flags: lenient, env: []string{"NOTIFY_SOCKET=" + path}}.start(t)
	p.stop(t)
	if all := strings.Join(sayings(t, said, "STOPPING=1"), " "); strings.Contains(all, "WATCHDOG=1") {
		t.Errorf("without being asked it said %q", all)
	}
}

func noSystemd(t *testing.T, _ *proxy) {
	for _, path := range []string{"/nonexistent/notify", "nonsense", "@viaduct-test-nobody", ""} {
		p := launch{flags: lenient, env: []string{"NOTIFY_SOCKET=" + path, "WATCHDOG_USEC=nonsense", "LISTEN_FDS=nonsense"}}.start(t)
		pass(t, p, "GET http://{O}/ HTTP/1.1", "Host: {O}")
		p.stop(t)
	}
}

// socket is a listening socket to be passed on, and its address.
func socket(t testing.TB, addr string) (file *os.File, at string) {
	t.Helper()
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	if file, err = ln.(*net.TCPListener).File(); err != nil {
		t.Fatal(err)
	}
	at = ln.Addr().String()
	ln.Close() // the file is another descriptor of it
	t.Cleanup(func() { file.Close() })
	return file, at
}

func socketActivation(t *testing.T, _ *proxy) {
	first, one := socket(t, "127.0.0.1:0")
	second, two := socket(t, "127.0.0.2:0")
	third, three := socket(t, "127.0.0.3:0")
	admin := fmt.Sprintf("admin: {listen: %q}\n", three)
	text := func(more ...string) string {
		return strings.Replace(confWith(admin, more...), "127.0.0.1:0", fmt.Sprintf("%q, %q", one, two), 1)
	}
	o := newOrigin(t, says(ok("fine")))
	early := dial(t, &proxy{addr: two}).ask("GET http://"+o.addr+"/ HTTP/1.1", "Host: x")
	p := launch{conf: text(), sockets: []*os.File{second, third, first}}.start(t)
	for _, file := range []*os.File{first, second, third} {
		file.Close()
	}
	early.answer().want(t, 200, "fine")
	for _, at := range []string{one, two} {
		fetch(t, p.at(at), o.addr).want(t, 200, "fine")
		fetch(t, p.at(at), one).wantOwn(t, 421, "proxy_loop_detected")
	}
	p.reload(t, text("anonymity: via"))
	for _, at := range []string{one, two} {
		if via := pass(t, p.at(at), "GET http://{O}/ HTTP/1.1", "Host: {O}").get("Via"); via == "" {
			t.Error("the reload does not hold")
		}
	}
	early.ask("GET http://"+o.addr+"/ HTTP/1.1", "Host: x").answer().want(t, 200, "fine")
	p.admin(t, "/readyz").want(t, 200, "ready\n")
	p.signal(t, syscall.SIGTERM)
	p.at(one).deaf(t)
	if code := p.wait(t); code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}
}

func socketUnmatched(t *testing.T, _ *proxy) {
	stray, at := socket(t, "127.0.0.3:0")
	dir := t.TempDir()
	ln, err := net.Listen("unix", dir+"/stream")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	local, err := ln.(*net.UnixListener).File()
	if err != nil {
		t.Fatal(err)
	}
	defer local.Close()
	plain, err := os.Create(dir + "/plain")
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Close()
	for says, file := range map[string]*os.File{at: stray, "TCP": local, "socket": plain} {
		cmd, err := launch{sockets: []*os.File{file}}.command(dir, []string{"forward", "--listen", "127.0.0.1:0", "--access-log", "off"})
		if err != nil {
			t.Fatal(err)
		}
		out, _ := cmd.CombinedOutput() // its code is looked at
		if code := cmd.ProcessState.ExitCode(); code != 2 || !strings.Contains(string(out), says) || !strings.Contains(string(out), "systemd") {
			t.Errorf("exit code %d, want 2 and %s: %s", code, says, out)
		}
	}
}

func socketOfOthers(t *testing.T, _ *proxy) {
	stray, at := socket(t, "127.0.0.1:0")
	p := launch{flags: lenient, env: []string{"LISTEN_FDS=1", "LISTEN_PID=1"}, sockets: nil}.start(t)
	pass(t, p, "GET http://{O}/ HTTP/1.1", "Host: {O}")
	stray.Close()
	p.at(at).deaf(t)
}
