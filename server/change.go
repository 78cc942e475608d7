package server

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"syscall"

	"viaduct/accesslog"
	"viaduct/admin"
	"viaduct/config"
	"viaduct/door"
	"viaduct/files"
	"viaduct/snapshot"
	"viaduct/upstream"
)

// change is the way from one configuration to the next. Everything in it is
// open, and nothing of it in use, until it is committed.
type change struct {
	wanted    map[string]bool // keys of listeners
	snapshot  *present
	listeners map[string]*listener // by key
	opened    []*listener          // those among them that are new
	admin     *adminDoor           // nil for none
	newAdmin  bool
	handler   *admin.Admin
	sink      io.Writer // of the access log; nil for none
	out       *os.File  // the same, when it is a file
}

// undo closes what was opened for a change that does not come.
func (c *change) undo() {
	for _, l := range c.opened {
		l.Close()
	}
	if c.newAdmin {
		c.admin.socket.Close()
	}
	if c.out != nil {
		_ = c.out.Close()
	}
}

// prepare opens what a configuration needs, and builds what serves it.
func (s *Server) prepare(conf *config.Config) (*change, error) {
	c := &change{listeners: map[string]*listener{}, wanted: map[string]bool{}}
	err := s.openAll(c, conf)
	if err == nil {
		err = s.build(c, conf, nil)
	}
	if err != nil {
		c.undo()
		return nil, err
	}
	return c, nil
}

// build makes the snapshot of a change whose listeners and log are open.
func (s *Server) build(c *change, conf *config.Config, read *files.Set) error {
	o := snapshot.Options{
		Conf: conf, Metrics: s.metrics, Panicked: s.panicked, Failed: s.failed, Changed: s.changedEndpoint, Own: own(c.listeners, c.admin), Files: read,
	}
	if now := s.current.Load(); now != nil {
		o.Prev = now.Snapshot
	}
	if conf.Log.Access.Path != "off" {
		o.Log = s.access
	}
	made, err := snapshot.New(o)
	c.snapshot = &present{made, slices.Collect(maps.Values(c.listeners))}
	return err
}

// openAll opens what is new. What can touch clients who are there already, if it
// has to be undone, comes last.
func (s *Server) openAll(c *change, conf *config.Config) (err error) {
	for i := range conf.Forward {
		if err := upstream.NewEgress(conf.Forward[i].Egress, 0).Usable(); err != nil {
			return fmt.Errorf("egress: %w", err)
		}
	}
	if err := s.openAdmin(c, &conf.Admin); err != nil {
		return err
	}
	if c.sink, c.out, err = accesslog.Open(conf.Log.Access.Path); err != nil {
		return err
	}
	keys := slices.Concat(snapshot.Keys(conf)...)
	for _, key := range keys {
		c.wanted[key] = true
	}
	inUse := map[string]error{}
	for _, key := range keys {
		if l := s.listeners[key]; l != nil {
			c.listeners[key] = l
			continue
		}
		d, err := s.listen(key)
		switch {
		case errors.Is(err, syscall.EADDRINUSE):
			inUse[key] = err
		case err != nil:
			return err
		default:
			c.add(key, d)
		}
	}
	for key, err := range inUse {
		d, err := s.listenBeside(c, key, err)
		if err != nil {
			return err
		}
		c.add(key, d)
	}
	return nil
}

func (c *change) add(key string, d *door.Listener) {
	l := newListener(key, d)
	c.listeners[key] = l
	c.opened = append(c.opened, l)
}

// commit changes over. It cannot fail.
func (s *Server) commit(c *change) {
	old, conf := s.current.Load(), c.snapshot.Conf
	if s.o.Level != nil {
		_ = s.o.Level.UnmarshalText([]byte(conf.Log.Level)) // it was checked
	}
	s.switchLog(c, conf.Log.Access.Format)
	s.enter(c)
	vanished := s.listeners
	s.listeners = c.listeners
	if s.running {
		for _, l := range c.opened {
			s.begin(l)
		}
	}
	s.changeAdmin(c)
	s.leave(old, vanished)
}

// enter puts the entries of a change into force.
func (s *Server) enter(c *change) {
	for _, e := range c.snapshot.Entries {
		e.Front.Live.Store(e.Conf)
		e.Front.Vault.Change(e.TLS)
		for _, a := range e.Conf.Egress {
			s.metrics.Egress(a.String())
		}
		for _, key := range e.Keys {
			c.listeners[key].entry.Store(e)
		}
	}
	s.enterPools(c.snapshot)
	shareProcessor(c.snapshot)
	s.tellRemarks(s.current.Swap(c.snapshot), c.snapshot)
	s.recheck(c.snapshot)
}

// switchLog has lines written to where the configuration says. What was written
// to before stays open if it hangs.
func (s *Server) switchLog(c *change, format string) {
	f, _ := accesslog.ParseFormat(format) // it was checked
	err := s.access.Switch(c.sink, f)
	switch {
	case err != nil:
		s.log.Error("old access log hangs", "error", err)
	case s.out != nil:
		_ = s.out.Close()
	}
	s.out = c.out
}

// leave lets go of what the old configuration had and the new one has not.
func (s *Server) leave(old *present, vanished map[string]*listener) {
	s.closing = slices.DeleteFunc(s.closing, (*listener).isClosed)
	for key, l := range vanished {
		if s.listeners[key] != l {
			l.CallLast()
			s.retire(l)
		}
	}
	if old == nil {
		return
	}
	for key, t := range old.Transits {
		if s.current.Load().Transits[key] != t {
			t.Idle.Close()
		}
	}
}
