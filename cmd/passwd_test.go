package cmd_test

import (
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"unsafe"

	"viaduct/auth"
)

// process makes the program ready to run by itself.
func process(t *testing.T, words ...string) *exec.Cmd {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	p := exec.CommandContext(ctx, os.Args[0], words...)
	p.Env = append(os.Environ(), "CMD_TEST_ROLE=viaduct")
	return p
}

// passwd runs viaduct passwd with something on standard input.
func passwd(t *testing.T, input string, words ...string) (code int, out, errOut string) {
	t.Helper()
	p := process(t, append([]string{"passwd"}, words...)...)
	var o, e strings.Builder
	p.Stdin, p.Stdout, p.Stderr = strings.NewReader(input), &o, &e
	if err := p.Run(); err != nil {
		if _, ok := errors.AsType[*exec.ExitError](err); !ok {
			t.Fatal(err)
		}
	}
	return p.ProcessState.ExitCode(), o.String(), e.String()
}

// wantUser holds that a users file knows a password.
func wantUser(t *testing.T, file, user, password string) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	u, err := auth.ParseUsers(text, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := u.Verify(t.Context(), &auth.Credentials{User: user, Password: password}); err != nil {
		t.Errorf("%s: %v", user, err)
	}
}

// wantFiles holds what is in a folder.
func wantFiles(t *testing.T, folder string, want ...string) {
	t.Helper()
	entries, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	if !slices.Equal(names, want) {
		t.Errorf("%v in %s, want %v", names, folder, want)
	}
}

func mode(t *testing.T, file string) os.FileMode {
	t.Helper()
	info, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	return info.Mode()
}

func TestPasswdFromStandardInput(t *testing.T) {
	file := filepath.Join(t.TempDir(), "users")
	for _, tt := range []struct{ input, user, password, done string }{
		{"secret 1\n", "joe", "secret 1", "added"},
		{"no line end", "jane", "no line end", "added"},
		{"пароль\r\n", "joe doe", "пароль", "added"},
		{" a:b \nmore\n", "joe", " a:b ", "changed"},
		{strings.Repeat("x", 72) + "\n", "mia", strings.Repeat("x", 72), "added"},
	} {
		code, out, errOut := passwd(t, tt.input, file, tt.user)
		if code != 0 || errOut != "" || out != file+": user "+tt.user+" "+tt.done+"\n" {
			t.Fatalf("%s: exit %d, %q, %q", tt.user, code, out, errOut)
		}
		wantUser(t, file, tt.user, tt.password)
		if m := mode(t, file); m != 0o600 {
			t.Errorf("mode %v", m)
		}
	}
	wantUser(t, file, "jane", "no line end")
	wantFiles(t, filepath.Dir(file), "users")
}

// The rest of the file stays, and so do its mode and its owner.
func TestPasswdKeepsTheRest(t *testing.T) {
	const rest = "# staff\r\njane:plain text of old\r\n"
	file := filepath.Join(t.TempDir(), "users")
	if err := os.WriteFile(file, []byte(rest+"joe:old:Joe Doe\r\n\r\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(file, 0o644); err != nil {
		t.Fatal(err)
	}
	uid, gid := os.Getuid(), os.Getgid()
	if uid == 0 {
		uid, gid = 12345, 23456
		if err := os.Chown(file, uid, gid); err != nil {
			t.Fatal(err)
		}
	}
	open, err := os.Open(file) // whoever reads the old one reads on
	if err != nil {
		t.Fatal(err)
	}
	defer open.Close()
	if code, _, errOut := passwd(t, "x\n", file, "joe"); code != 0 {
		t.Fatal(errOut)
	}
	text, err := os.ReadFile(file)
	if err != nil || !strings.HasPrefix(string(text), rest+"joe:$2a$10$") || !strings.HasSuffix(string(text), ":Joe Doe\r\n\r\n") {
		t.Errorf("%q, %v", text, err)
	}
	info, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	if s := info.Sys().(*syscall.Stat_t); info.Mode() != 0o644 || int(s.Uid) != uid || int(s.Gid) != gid {
		t.Errorf("mode %v of %d and %d", info.Mode(), s.Uid, s.Gid)
	}
	if old, err := io.ReadAll(open); err != nil || string(old) != rest+"joe:old:Joe Doe\r\n\r\n" {
		t.Errorf("the old file was changed: %q, %v", old, err)
	}
}

func TestPasswdFollowsLinks(t *testing.T) {
	folder := t.TempDir()
	for _, name := range []string{"etc", "real"} {
		if err := os.Mkdir(filepath.Join(folder, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	link, file := filepath.Join(folder, "etc", "users"), filepath.Join(folder, "real", "users")
	if err := os.Symlink("../real/users", link); err != nil {
		t.Fatal(err)
	}
	code, _, errOut := passwd(t, "x\n", link, "joe")
	if code != 2 || !strings.Contains(errOut, "is a link that leads nowhere") {
		t.Errorf("exit %d, %s", code, errOut)
	}
	if err := os.WriteFile(file, []byte("# x\n"), 0o640); err != nil {
		t.Fatal(err)
	}
	if code, _, errOut := passwd(t, "x\n", link, "joe"); code != 0 {
		t.Fatalf("exit %d, %s", code, errOut)
	}
	wantUser(t, file, "joe", "x")
	if to, err := os.Readlink(link); err != nil || to != "../real/users" {
		t.Errorf("the link is %q, %v", to, err)
	}
	wantFiles(t, filepath.Join(folder, "etc"), "users")
	wantFiles(t, filepath.Join(folder, "real"), "users")
}

func TestPasswdRefuses(t *testing.T) {
	folder := t.TempDir()
	at := func(name string) string { return filepath.Join(folder, name) }
	if err := os.WriteFile(at("users"), []byte("joe:1\njoe:2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(at("pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, input string
		words       []string
		code        int
		says        string
	}{
		{"no words", "x\n", nil, 1, "which file, and which user?"},
		{"no user", "x\n", []string{at("new")}, 1, "which user? write viaduct passwd " + at("new") + " USER"},
		{"password as a word", "x\n", []string{at("new"), "joe", "hunter2"}, 1, "a password has no place on the command line"},
		{"colon", "x\n", []string{at("new"), "a:b"}, 1, `user "a:b" has a colon`},
		{"control", "x\n", []string{at("new"), "a\nb"}, 1, `user "a\nb" has a control character`},
		{"empty user", "x\n", []string{at("new"), ""}, 1, "the user has no name"},
		{"nothing comes", "", []string{at("new"), "joe"}, 1, "the password is empty"},
		{"empty line", "\nhunter2\n", []string{at("new"), "joe"}, 1, "the password is empty"},
		{"long", "hunter2" + strings.Repeat("x", 66) + "\n", []string{at("new"), "joe"}, 1, "73 bytes, but bcrypt looks at 72 only"},
		{"endless", strings.Repeat("hunter2", 1<<20), []string{at("new"), "joe"}, 1, "bytes, but bcrypt looks at 72 only"},
		{"control in it", "hunter2\x03\n", []string{at("new"), "joe"}, 1, "the password has a control character"},
		{"not UTF-8", "hunter2\xff\n", []string{at("new"), "joe"}, 1, "the password is not UTF-8"},
		{"there twice", "x\n", []string{at("users"), "joe"}, 1, `user "joe" is on lines 1 and 2`},
		{"a folder", "x\n", []string{folder, "joe"}, 2, "is not a file that could be changed"},
		{"a pipe", "x\n", []string{at("pipe"), "joe"}, 2, "is not a file that could be changed"},
		{"a device", "x\n", []string{"/dev/null", "joe"}, 2, "is not a file that could be changed"},
		{"no folder", "x\n", []string{at("none/users"), "joe"}, 2, "no such file or directory"},
		{"below a file", "x\n", []string{at("users/x"), "joe"}, 2, "not a directory"},
		{"unknown flag", "x\n", []string{"-b", at("new"), "joe"}, 1, "unknown flag -b"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			code, out, errOut := passwd(t, tt.input, tt.words...)
			if code != tt.code || out != "" || !strings.Contains(strings.ToLower(errOut), strings.ToLower(tt.says)) || !strings.HasPrefix(errOut, "viaduct: ") {
				t.Errorf("exit %d, %q, %q; want exit %d and %q", code, out, errOut, tt.code, tt.says)
			}
			if strings.Contains(errOut, "hunter2") || strings.Count(errOut, "\n") != 1 {
				t.Errorf("tells too much: %q", errOut)
			}
		})
	}
	wantFiles(t, folder, "pipe", "users")
	if text, err := os.ReadFile(at("users")); err != nil || string(text) != "joe:1\njoe:2\n" {
		t.Errorf("%q, %v", text, err)
	}
}

func TestPasswdFlagLikeUser(t *testing.T) {
	file := filepath.Join(t.TempDir(), "users")
	if code, _, errOut := passwd(t, "x\n", "--", file, "-joe"); code != 0 {
		t.Fatalf("exit %d, %s", code, errOut)
	}
	wantUser(t, file, "-joe", "x")
	if code, out, _ := passwd(t, "", "--help"); code != 0 || !strings.Contains(out, "viaduct passwd FILE USER") {
		t.Errorf("exit %d, %s", code, out)
	}
}

// Several at a time lose nobody.
func TestPasswdAtOnce(t *testing.T) {
	file := filepath.Join(t.TempDir(), "users")
	names := []string{"a", "b", "c", "d", "e", "f"}
	var wait sync.WaitGroup
	for _, name := range names {
		wait.Go(func() {
			if code, _, errOut := passwd(t, name+"\n", file, name); code != 0 {
				t.Errorf("exit %d, %s", code, errOut)
			}
		})
	}
	wait.Wait()
	for _, name := range names {
		wantUser(t, file, name, name)
	}
	wantFiles(t, filepath.Dir(file), "users")
}

// terminal is one that a program is typed into.
type terminal struct {
	keys   *os.File // what is typed, and what is shown
	inside *os.File // the end of the program
	shown  screen
	closed chan struct{}
}

func openTerminal(t *testing.T) *terminal {
	t.Helper()
	keys, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Skip(err)
	}
	var unlock int32
	const lock, peer = 0x40045431, 0x5441 // TIOCSPTLCK, TIOCGPTPEER
	if _, _, e := syscall.Syscall(syscall.SYS_IOCTL, keys.Fd(), lock, uintptr(unsafe.Pointer(&unlock))); e != 0 {
		t.Fatal(e)
	}
	fd, _, e := syscall.Syscall(syscall.SYS_IOCTL, keys.Fd(), peer, syscall.O_RDWR|syscall.O_NOCTTY|syscall.O_CLOEXEC)
	if e != 0 {
		t.Fatal(e)
	}
	term := &terminal{keys: keys, inside: os.NewFile(fd, "terminal"), closed: make(chan struct{})}
	go term.look()
	t.Cleanup(func() {
		_ = term.inside.Close() // the last one: look reads its end
		<-term.closed
		_ = keys.Close()
	})
	return term
}

func (term *terminal) look() {
	defer close(term.closed)
	_, _ = io.Copy(&term.shown, term.keys)
}

// says waits until something is shown, and the program listens in silence.
func (term *terminal) says(t *testing.T, text string) {
	t.Helper()
	if !eventually(func() bool { return strings.HasSuffix(term.shown.String(), text) && !term.echoes(t) }) {
		t.Fatalf("it shows %q, want %q", term.shown.String(), text)
	}
}

func (term *terminal) enter(t *testing.T, text string) {
	t.Helper()
	if _, err := term.keys.WriteString(text); err != nil {
		t.Fatal(err)
	}
}

// echoes tells whether what is typed is shown.
func (term *terminal) echoes(t *testing.T) bool {
	t.Helper()
	var state syscall.Termios
	if _, _, e := syscall.Syscall(syscall.SYS_IOCTL, term.inside.Fd(), syscall.TCGETS, uintptr(unsafe.Pointer(&state))); e != 0 {
		t.Fatal(e)
	}
	return state.Lflag&syscall.ECHO != 0
}

// run starts viaduct passwd in the terminal.
func (term *terminal) run(t *testing.T, file string) *exec.Cmd {
	t.Helper()
	p := process(t, "passwd", file, "joe")
	p.Stdin, p.Stdout, p.Stderr = term.inside, term.inside, term.inside
	p.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	return p
}

func TestPasswdFromTerminal(t *testing.T) {
	for _, tt := range []struct{ name, first, second, says string }{
		{"twice the same", "hunter2 ü\n", "hunter2 ü\n", "user joe added"},
		{"with a slip", "hunter3\x7f2 ü\n", "hunter2 ü\n", "user joe added"},
		{"not the same", "hunter2\n", "hunter3\n", "viaduct: the two are not the same: nothing was changed"},
		{"nothing", "\n", "\n", "viaduct: the password is empty"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			term, file := openTerminal(t), filepath.Join(t.TempDir(), "users")
			p := term.run(t, file)
			term.says(t, "Password of joe: ")
			term.enter(t, tt.first)
			term.says(t, "Once more: ")
			term.enter(t, tt.second)
			ok := strings.Contains(tt.says, "added")
			if err := p.Wait(); (err == nil) != ok {
				t.Errorf("%v: %s", err, term.shown.String())
			}
			if !eventually(func() bool { return strings.Contains(term.shown.String(), tt.says) }) {
				t.Errorf("it shows %q", term.shown.String())
			}
			if strings.Contains(term.shown.String(), "unter") || !term.echoes(t) {
				t.Errorf("it shows %q, or shows nothing any more", term.shown.String())
			}
			if ok {
				wantUser(t, file, "joe", "hunter2 ü")
			} else {
				wantFiles(t, filepath.Dir(file))
			}
		})
	}
}

// Whoever interrupts it gets a terminal back that shows what is typed.
func TestPasswdInterrupted(t *testing.T) {
	for _, s := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP} {
		term, folder := openTerminal(t), t.TempDir()
		p := term.run(t, filepath.Join(folder, "users"))
		term.says(t, "Password of joe: ")
		if s == syscall.SIGINT {
			term.enter(t, "hunt\x03")
		} else if err := p.Process.Signal(s); err != nil {
			t.Fatal(err)
		}
		err := p.Wait()
		status, _ := p.ProcessState.Sys().(syscall.WaitStatus)
		if err == nil || !status.Signaled() || status.Signal() != s {
			t.Errorf("%v: %v", s, err)
		}
		if !term.echoes(t) {
			t.Errorf("%v leaves a terminal that shows nothing", s)
		}
		wantFiles(t, folder)
	}
}
