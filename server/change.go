package server

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"

	"viaduct/accesslog"
	"viaduct/admin"
	"viaduct/config"
	"viaduct/upstream"
)

// change is the way from one configuration to the next. Everything in it is
// open, and nothing of it in use, until it is committed.
type change struct {
	wanted    map[string]bool // keys of listeners
	snapshot  *Snapshot
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
		b := builder{
			conf: conf, prev: s.current.Load(), metrics: s.metrics, panicked: s.panicked,
			own: own(c.listeners, c.admin),
		}
		if c.sink != nil {
			b.log = s.access
		}
		c.snapshot, err = b.build()
	}
	if err != nil {
		c.undo()
		return nil, err
	}
	return c, nil
}

func (s *Server) openAll(c *change, conf *config.Config) (err error) {
	if c.sink, c.out, err = openLog(conf.Log.Access.Path); err != nil {
		return err
	}
	for i := range conf.Forward {
		if err := upstream.NewEgress(conf.Forward[i].Egress, 0).Usable(); err != nil {
			return fmt.Errorf("egress address cannot be used: %w", err)
		}
	}
	for _, key := range slices.Concat(listenKeys(conf)...) {
		c.wanted[key] = true
	}
	for _, key := range slices.Concat(listenKeys(conf)...) {
		if err := s.openListener(c, key); err != nil {
			return err
		}
	}
	return s.openAdmin(c, &conf.Admin)
}

// openListener keeps the listener that is there, or opens one.
func (s *Server) openListener(c *change, key string) error {
	l := s.listeners[key]
	if l == nil {
		socket, err := s.listen(c, key)
		if err != nil {
			return err
		}
		l = &listener{Listener: socket, done: make(chan struct{})}
		c.opened = append(c.opened, l)
	}
	c.listeners[key] = l
	return nil
}

// openLog opens the access log.
func openLog(path string) (io.Writer, *os.File, error) {
	switch path {
	case "off", "":
		return nil, nil, nil
	case "-":
		return os.Stdout, nil, nil
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o640)
	if err != nil {
		return nil, nil, fmt.Errorf("open access log: %w", err)
	}
	return f, f, nil
}

// commit changes over. It cannot fail.
func (s *Server) commit(c *change) {
	old, conf := s.current.Load(), c.snapshot.conf
	if s.o.Level != nil {
		_ = s.o.Level.UnmarshalText([]byte(conf.Log.Level)) // it was checked
	}
	s.switchLog(c, conf.Log.Access.Format)
	s.current.Store(c.snapshot)
	for i, keys := range listenKeys(conf) {
		e := c.snapshot.entries[i]
		e.front.live.Store(e)
		for _, a := range e.conf.Egress {
			s.metrics.Egress(a.String())
		}
		for _, key := range keys {
			c.listeners[key].front.Store(e.front)
		}
	}
	vanished := s.listeners
	s.listeners = c.listeners
	if s.running {
		for _, l := range c.opened {
			s.begin(l)
		}
	}
	lost := map[*front][]*listener{}
	for key, l := range vanished {
		if s.listeners[key] != l {
			l.CallLast()
			lost[l.front.Load()] = append(lost[l.front.Load()], l)
		}
	}
	s.changeAdmin(c)
	s.leave(old, lost)
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

// leave lets go of what the old configuration had and the new one has not, and
// of the listeners that fronts have lost.
func (s *Server) leave(old *Snapshot, lost map[*front][]*listener) {
	if old == nil {
		return
	}
	now := s.current.Load()
	for _, e := range old.entries {
		if !now.has(e.front) {
			s.retired[e.front] = struct{}{}
			s.background.Add(1)
			go s.retire(e.front, lost[e.front])
		}
	}
	for key, t := range old.transits {
		if now.transits[key] != t {
			t.pool.Close()
		}
	}
}

// retire is the goroutine of a front that the configuration has no more: it
// lasts until its last client has gone.
func (s *Server) retire(f *front, lost []*listener) {
	defer s.background.Done()
	for _, l := range lost {
		<-l.done
	}
	_ = f.drain(context.Background())
	s.reloading.Lock()
	delete(s.retired, f)
	s.reloading.Unlock()
}
