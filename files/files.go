// Package files is what the configuration names beside itself: users, groups,
// lists. Each is read once, kept in the form that it is used in, and taken over
// from one configuration to the next for as long as it has not changed on disk.
package files

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"slices"
	"syscall"
	"time"
)

// Version tells one state of a file from another. The zero one is that of a file
// which is not there. Who may read it is part of it: a key that is open to all is
// refused until it is closed.
type Version struct {
	inode        uint64
	size         int64
	modified     time.Time
	mode         os.FileMode
	owner, group uint32
}

// VersionOf is the version of the file that path leads to at last.
func VersionOf(path string) Version {
	info, err := os.Stat(path)
	if err != nil {
		return Version{}
	}
	return versionOf(info)
}

func versionOf(info os.FileInfo) Version {
	v := Version{size: info.Size(), modified: info.ModTime(), mode: info.Mode()}
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		v.inode, v.owner, v.group = st.Ino, st.Uid, st.Gid
	}
	return v
}

// Most is the size of the largest file that is read.
const Most = 1 << 30

// Set is the files of one configuration. One goroutine fills it by Load, and one
// asks Changed from then on.
type Set struct {
	prev  *Set            // until Done
	only  map[string]bool // files to be read anew; nil is all that have changed
	stale func(error)
	kept  map[string]*kept
	seen  map[string]Version // at the last look of Changed
	tried map[string]Version // that need not be told of again
}

// kept is a file as it is used, in one form or more.
type kept struct {
	version Version
	forms   map[string]any
}

// New makes a set that takes over from prev, which may be nil, what has not
// changed. A file that is no good is an error.
func New(prev *Set) *Set {
	if prev == nil {
		prev = new(Set)
	}
	return &Set{prev: prev, kept: map[string]*kept{}, seen: map[string]Version{}, tried: map[string]Version{}}
}

// Again makes a set for the same files as prev, of which those in changed are read
// anew: another one may be half written just now. Of a file that is no good stale
// is told, and what prev has of it stays.
func Again(prev *Set, changed []string, stale func(error)) *Set {
	s := New(prev)
	s.stale, s.only = stale, make(map[string]bool, len(changed))
	for _, path := range changed {
		s.only[path] = true
	}
	return s
}

// Keep tells whether what was made of these files before is to stay when they
// turn out to be no good together, each being readable by itself: so it is in a
// set made by Again. Of what is wrong stale is told, unless none of them was read
// anew: then it was told before.
func (s *Set) Keep(wrong error, paths ...string) bool {
	if s.stale == nil {
		return false
	}
	if slices.ContainsFunc(paths, func(path string) bool { return s.only[path] }) {
		s.stale(wrong)
	}
	return true
}

// Done lets go of the set before.
func (s *Set) Done() { s.prev = nil }

// Load returns the file at path in a form, which parse makes of its text. The
// text of a file that changes while it is read is of one version or another,
// which the next look finds out.
func Load[T any](s *Set, path, form string, parse func(text []byte) (T, error)) (T, error) {
	var none T
	k := s.kept[path]
	if k == nil {
		k = &kept{forms: map[string]any{}}
		s.kept[path] = k // also when it cannot be read: it may be one day
	}
	if v, ok := k.forms[form]; ok {
		return v.(T), nil
	}
	if old := s.prev.kept[path]; old != nil && s.mayKeep(path, old) {
		if v, ok := old.forms[form]; ok && (len(k.forms) == 0 || k.version == old.version) {
			k.version, k.forms[form] = old.version, v
			return v.(T), nil
		}
	}
	v, version, err := parsed(path, parse)
	k.version = version
	if err != nil {
		old := s.prev.kept[path]
		if s.stale == nil || old == nil || old.forms[form] == nil {
			return none, err
		}
		s.stale(err)
		s.tried[path] = version
		v, k.version = old.forms[form].(T), old.version
	}
	k.forms[form] = v
	return v, nil
}

// mayKeep tells whether what was read of a file is to do.
func (s *Set) mayKeep(path string, old *kept) bool {
	if s.only != nil {
		return !s.only[path]
	}
	return old.version == VersionOf(path) && old.version != (Version{})
}

// parsed reads a file anew.
func parsed[T any](path string, parse func(text []byte) (T, error)) (v T, version Version, err error) {
	text, version, err := read(path)
	if err != nil {
		return v, version, err
	}
	if v, err = parse(text); err != nil {
		err = fmt.Errorf("%s: %w", path, err)
	}
	return v, version, err
}

// read reads a file of bounded size, which must be one: a pipe has no versions,
// and could keep us waiting.
func read(path string) ([]byte, Version, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, Version{}, err
	}
	defer f.Close()
	info, err := f.Stat()
	switch {
	case err != nil:
		return nil, Version{}, err
	case !info.Mode().IsRegular():
		return nil, versionOf(info), fmt.Errorf("%s is not a regular file", path)
	case info.Size() > Most:
		return nil, versionOf(info), fmt.Errorf("%s is larger than 1 GiB", path)
	}
	text := bytes.NewBuffer(make([]byte, 0, info.Size()+bytes.MinRead))
	n, err := text.ReadFrom(io.LimitReader(f, Most+1)) // it may grow meanwhile
	switch {
	case err != nil:
		return nil, versionOf(info), err
	case n > Most:
		return nil, versionOf(info), fmt.Errorf("%s is larger than 1 GiB", path)
	}
	return text.Bytes(), versionOf(info), nil
}

// Changed lists the files that are not what they were when they were read, or not
// there any more, and have stayed so since the last look: whoever writes one may
// not have finished. What it has listed once it lists again only beside something
// new: a certificate that was no good may be, with the key that has come since.
func (s *Set) Changed() []string {
	var changed, again []string
	for path, k := range s.kept {
		now := VersionOf(path)
		seen, settled := s.seen[path]
		settled = settled && seen == now
		s.seen[path] = now
		tried, ok := s.tried[path]
		switch {
		case now == k.version || !settled:
		case ok && tried == now:
			again = append(again, path)
		default:
			s.tried[path] = now
			changed = append(changed, path)
		}
	}
	if changed == nil {
		return nil
	}
	changed = append(changed, again...)
	slices.Sort(changed)
	return changed
}
