package door

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Local is a socket in the file system, which only the user of this process, and
// root, may connect to.
type Local struct {
	net.Listener
	path  string
	made  fs.FileInfo
	close func() error
}

// OpenLocal listens at a path. A socket that nobody listens on any more, as a
// process leaves it that was killed, is replaced. Anything else that is there
// stays, and is an error.
func OpenLocal(path string) (*Local, error) {
	defer lockFolder(filepath.Dir(path))()
	l, err := openLocal(path)
	if errors.Is(err, syscall.EADDRINUSE) {
		if err := clearPath(path); err != nil {
			return nil, err
		}
		l, err = openLocal(path)
	}
	return l, err
}

// lockFolder keeps other processes from opening a socket in the same folder at
// the same time: for a moment one that has its name, and is not listened on yet,
// looks as if nobody ever would. Whoever holds the lock for longer than that is
// somebody else, and is not waited for.
func lockFolder(path string) (unlock func()) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return func() {}
	}
	end := time.Now().Add(lockWait)
	for errors.Is(unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB), unix.EWOULDBLOCK) && time.Now().Before(end) {
		<-time.After(time.Millisecond)
	}
	return func() { _ = unix.Close(fd) }
}

const lockWait = time.Second

func openLocal(path string) (*Local, error) {
	lc := net.ListenConfig{Control: ownerOnly}
	socket, err := lc.Listen(context.Background(), "unix", path)
	if err != nil {
		return nil, err
	}
	l := &Local{Listener: socket, path: path}
	l.close = sync.OnceValue(l.end)
	socket.(*net.UnixListener).SetUnlinkOnClose(false) // it may be another's by then
	l.made, err = os.Lstat(path)
	if err == nil && l.made.Mode() != fs.ModeSocket|0o600 {
		err = fmt.Errorf("listen %s: the socket has the mode %v, and others could connect: choose a folder of another file system", path, l.made.Mode())
	}
	if err != nil {
		_ = l.Close()
		return nil, err
	}
	return l, nil
}

// ownerOnly gives a socket its mode before it has its name. Linux takes the mode
// of the file from the socket, so that there is no moment in which others could
// connect; a umask would be that of the whole process.
func ownerOnly(_, _ string, c syscall.RawConn) error {
	var err error
	set := func(fd uintptr) { err = syscall.Fchmod(int(fd), 0o600) }
	return errors.Join(c.Control(set), err)
}

// clearPath removes a socket that nobody listens on.
func clearPath(path string) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist): // it has gone meanwhile
		return nil
	case err != nil:
		return err
	case info.Mode().Type() != fs.ModeSocket:
		return fmt.Errorf("listen %s: there is a file that is no socket: move it away, or choose another path", path)
	}
	c, err := net.DialTimeout("unix", path, time.Second)
	switch {
	case err == nil:
		_ = c.Close()
		return fmt.Errorf("listen %s: %w: another process answers there", path, syscall.EADDRINUSE)
	case !errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("listen %s: it cannot be told whether somebody listens there: %w", path, err)
	}
	return os.Remove(path)
}

// Close closes the socket, and removes its file.
func (l *Local) Close() error { return l.close() }

// end leaves a file alone that another process has put there meanwhile. Its own
// has the same number as long as the socket is open.
func (l *Local) end() error {
	if now, err := os.Lstat(l.path); err == nil && l.made != nil && os.SameFile(now, l.made) {
		_ = os.Remove(l.path)
	}
	return l.Listener.Close()
}
