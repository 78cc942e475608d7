package config

import (
	"path/filepath"
	"strings"
)

// mostPath is the longest path that a socket may have (unix(7)).
const mostPath = 107

// UnixPath is the path in unix:///run/viaduct.sock, an admin address that is a
// socket in the file system. What does not begin with unix:// is none, and so is
// a path that no socket can have: it must be absolute, clean and no longer than
// 107 bytes.
func UnixPath(listen string) (path string, ok bool) {
	path, ok = strings.CutPrefix(listen, "unix://")
	return path, ok && filepath.IsAbs(path) && filepath.Clean(path) == path && path != "/" && len(path) <= mostPath && !strings.Contains(path, "\x00")
}
