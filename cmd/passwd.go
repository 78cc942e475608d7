package cmd

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/urfave/cli/v2"
	"golang.org/x/term"

	"viaduct/auth"
)

// longestLine is read of standard input: far more than any password.
const longestLine = 4 << 10

func passwdCommand() *cli.Command {
	return &cli.Command{
		Name:      "passwd",
		Usage:     "add or change a user in a users file",
		UsageText: "viaduct passwd FILE USER",
		Description: "Asks for the password twice, or reads one line from standard input if that is no\n" +
			"terminal, and writes its bcrypt hash into FILE, which htpasswd reads, too. The rest of\n" +
			"FILE stays as it is; one that does not exist is made, for its owner to read. An instance\n" +
			"that runs with FILE takes the change by itself.",
		HideHelpCommand: true,
		Action:          passwd,
	}
}

func passwd(c *cli.Context) error {
	path, user, err := fileAndUser(c.Args().Slice())
	if err != nil {
		return err
	}
	if _, _, err := readUsers(path); err != nil { // before anybody types in vain
		return err
	}
	password, err := readPassword(c.App.ErrWriter, user)
	if err != nil {
		return err
	}
	done, err := setPassword(path, user, password)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(c.App.Writer, "%s: user %s %s\n", path, user, done)
	return err
}

// fileAndUser are the words of the command. What stands behind them is not told:
// it may be a password.
func fileAndUser(words []string) (path, user string, err error) {
	switch {
	case len(words) == 0:
		return "", "", usageError("which file, and which user? write viaduct passwd FILE USER")
	case len(words) == 1:
		return "", "", usageError("which user? write viaduct passwd " + words[0] + " USER")
	case len(words) > 2:
		return "", "", usageError("passwd takes a file and a user: write viaduct passwd FILE USER. A password has no place on the command line, where others see it: it is asked for, or read from standard input")
	}
	if err := auth.CheckUser(words[1]); err != nil {
		return "", "", usageError(err.Error())
	}
	return words[0], words[1], nil
}

// readPassword asks for a password twice, or reads a line if nobody can be asked.
func readPassword(errOut io.Writer, user string) (string, error) {
	fd := int(os.Stdin.Fd())
	if !term.IsTerminal(fd) {
		line, err := bufio.NewReader(io.LimitReader(os.Stdin, longestLine)).ReadString('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return "", fmt.Errorf("read the password from standard input: %w", err)
		}
		return strings.TrimSuffix(strings.TrimSuffix(line, "\n"), "\r"), nil
	}
	state, err := term.GetState(fd)
	if err != nil {
		return "", fmt.Errorf("look at the terminal: %w", err)
	}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGTERM, syscall.SIGHUP)
	defer close(signals) // ends restoreTerminal
	defer signal.Stop(signals)
	go restoreTerminal(fd, state, signals)
	first, err := prompt(errOut, fd, "Password of "+user+": ")
	if err != nil {
		return "", err
	}
	second, err := prompt(errOut, fd, "Once more: ")
	if err != nil {
		return "", err
	}
	if first != second {
		return "", usageError("the two are not the same: nothing was changed")
	}
	return first, nil
}

func prompt(errOut io.Writer, fd int, text string) (string, error) {
	fmt.Fprint(errOut, text)
	b, err := term.ReadPassword(fd)
	fmt.Fprintln(errOut) // what was typed does not show, and neither did its end
	if err != nil {
		return "", fmt.Errorf("read the password from the terminal: %w", err)
	}
	return string(b), nil
}

// restoreTerminal is the goroutine that waits for a signal while a password is
// typed. The process ends by it as it would have done, but leaves a terminal
// that shows what is typed.
func restoreTerminal(fd int, state *term.State, signals <-chan os.Signal) {
	s, ok := (<-signals).(syscall.Signal)
	if !ok { // it was typed
		return
	}
	_ = term.Restore(fd, state)
	signal.Reset(s)
	_ = syscall.Kill(os.Getpid(), s)
}

// setPassword changes a users file, and tells what it did. Two that do so at a
// time wait for each other.
func setPassword(path, user, password string) (done string, err error) {
	path, err = target(path)
	if err != nil {
		return "", err
	}
	folder, err := os.Open(filepath.Dir(path))
	if err != nil {
		return "", err
	}
	defer folder.Close()
	_ = syscall.Flock(int(folder.Fd()), syscall.LOCK_EX) // there are file systems that know none
	old, info, err := readUsers(path)
	if err != nil {
		return "", err
	}
	text, err := auth.SetPassword(old, user, password)
	if err != nil {
		return "", usageError(err.Error())
	}
	if err := replace(path, info, text); err != nil {
		return "", err
	}
	_ = folder.Sync() // so that it is there after a power cut; not every folder can
	if strings.Count(string(old), "\n") == strings.Count(string(text), "\n") {
		return "changed", nil
	}
	return "added", nil
}

// target is the file that a path leads to, whether it is there yet or not.
func target(path string) (string, error) {
	file, err := filepath.EvalSymlinks(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return file, err
	}
	if _, err := os.Lstat(path); err == nil {
		return "", fmt.Errorf("%s is a link that leads nowhere: make the file that it is to lead to, or take it away", path)
	}
	return path, nil
}

// readUsers reads a users file; of one that does not exist the info is nil.
func readUsers(path string) (text []byte, info fs.FileInfo, err error) {
	info, err = os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil, nil
	case err != nil:
		return nil, nil, err
	case !info.Mode().IsRegular():
		return nil, nil, fmt.Errorf("%s is not a file that could be changed", path)
	}
	text, err = os.ReadFile(path)
	return text, info, err
}

// replace writes a file at one stroke, so that nobody ever reads half of it. The
// mode and the owner of one that was there stay, as who must read it is known by
// them.
func replace(path string, info fs.FileInfo, text []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*") // mode 0600
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(f.Name()) }() // of no effect on what was renamed
	defer f.Close()
	if _, err := f.Write(text); err != nil {
		return err
	}
	if info != nil {
		if err := sameOwner(f, info); err != nil {
			return fmt.Errorf("%s belongs to somebody else, and so would not afterwards: run it as its owner: %w", path, err)
		}
		if err := f.Chmod(info.Mode().Perm()); err != nil {
			return err
		}
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

// sameOwner gives f the owner and the group that another file has.
func sameOwner(f *os.File, as fs.FileInfo) error {
	is, err := f.Stat()
	if err != nil {
		return err
	}
	want, ok := as.Sys().(*syscall.Stat_t)
	have, same := is.Sys().(*syscall.Stat_t)
	if !ok || !same || want.Uid == have.Uid && want.Gid == have.Gid {
		return nil
	}
	return f.Chown(int(want.Uid), int(want.Gid))
}
