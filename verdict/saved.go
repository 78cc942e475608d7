package verdict

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"
	"unicode/utf8"
)

// Bounds of saved state.
const (
	version      = 1
	mostSaved    = 20_000   // endpoints
	mostBytes    = 32 << 20 // of the whole
	mostID       = 1024     // bytes of an ID
	mostVerdicts = 64       // of one endpoint
)

// Saved is what is known of a pool's endpoints, as JSON that outlives a restart.
type Saved struct {
	Version   int        `json:"version"`
	At        time.Time  `json:"saved"`
	Endpoints []Findings `json:"endpoints"`
}

// Findings are what is saved of one endpoint. Checks are named by a hash of
// their definition, which may hold a secret.
type Findings struct {
	ID         string            `json:"id"`
	Admin      string            `json:"admin,omitempty"`
	By         string            `json:"by,omitempty"`
	Since      time.Time         `json:"since,omitzero"` // of the operator's word
	Left       time.Time         `json:"left,omitzero"`  // when the list lost it; zero is not
	Ejections  int               `json:"ejections,omitempty"`
	EjectedFor time.Duration     `json:"ejected_for_ns,omitempty"` // what was left of it
	Why        string            `json:"why,omitempty"`
	Verdicts   map[string]string `json:"verdicts,omitempty"` // by check
}

// NewSaved is what is saved at a time, without endpoints yet.
func NewSaved(at time.Time) *Saved {
	return &Saved{Version: version, At: at, Endpoints: []Findings{}}
}

// Add adds an endpoint, if anything is known of it and it is within the bounds.
// An ID that is not valid UTF-8 would be another one in JSON.
func (s *Saved) Add(f Findings) {
	if f.told() && len(f.ID) <= mostID && utf8.ValidString(f.ID) && len(s.Endpoints) < mostSaved {
		s.Endpoints = append(s.Endpoints, f)
	}
}

func (f *Findings) told() bool {
	return f.Admin != "" || f.Ejections > 0 || len(f.Verdicts) > 0
}

// Encode is the JSON that Decode reads: of the endpoints added first, if all are
// too many bytes.
func (s *Saved) Encode() ([]byte, error) {
	data, err := plain(s)
	if err != nil || len(data) <= mostBytes {
		return data, err
	}
	kept, room := *s, mostBytes-1024 // for what stands around them
	for i := range s.Endpoints {
		one, err := plain(&s.Endpoints[i])
		if err != nil {
			return nil, err
		}
		if room -= len(one); room < 0 {
			kept.Endpoints = s.Endpoints[:i]
			break
		}
	}
	return plain(&kept)
}

// plain is JSON that no page will show: < and & need not be six bytes.
func plain(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	return b.Bytes(), err
}

// Eject notes what requests found, at a time of the clock that o goes by. A trial
// is an ejection that is over: there is another one after the restart.
func (f *Findings) Eject(o *Outlier, now time.Duration) {
	f.Ejections = o.Ejections
	if o.Passive != Fine {
		f.EjectedFor, f.Why = max(o.Until-now, 1), o.PassiveWhy
	}
}

// Note notes what the check with a key found, if it did.
func (f *Findings) Note(key string, state Active) {
	if state == Unknown || len(f.Verdicts) >= mostVerdicts {
		return
	}
	if f.Verdicts == nil {
		f.Verdicts = map[string]string{}
	}
	f.Verdicts[digest(key)] = state.String()
}

// Found is what the check with a key had found, Unknown if nothing.
func (f *Findings) Found(key string) Active {
	state, err := ParseActive(f.Verdicts[digest(key)])
	if err != nil {
		return Unknown
	}
	return state
}

// word is what the operator had said.
func (f *Findings) word() Admin {
	word, _ := ParseAdmin(cmp.Or(f.Admin, adminNames[Enabled]))
	return word
}

func digest(key string) string {
	sum := sha256.Sum256([]byte(key))
	return hex.EncodeToString(sum[:8])
}

// Decode reads saved state, and refuses what Encode does not write. Of two
// endpoints with one ID the first counts: one mistake must not cost all words.
func Decode(data []byte) (*Saved, error) {
	if len(data) > mostBytes {
		return nil, fmt.Errorf("%d bytes: more than %d are never saved", len(data), mostBytes)
	}
	var head struct {
		Version int `json:"version"`
	}
	if err := json.Unmarshal(data, &head); err != nil {
		return nil, err
	}
	if head.Version != version {
		return nil, fmt.Errorf("version %d: this program reads version %d", head.Version, version)
	}
	var s Saved
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(&s); err != nil {
		return nil, err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("there is more after its end")
	}
	if err := s.check(); err != nil {
		return nil, err
	}
	return &s, nil
}

func (s *Saved) check() error {
	if s.At.IsZero() {
		return errors.New("it does not say when it was saved")
	}
	if len(s.Endpoints) > mostSaved {
		return fmt.Errorf("%d endpoints: more than %d are never saved", len(s.Endpoints), mostSaved)
	}
	for i := range s.Endpoints {
		f := &s.Endpoints[i]
		if err := f.check(); err != nil {
			return fmt.Errorf("endpoint %.80q: %w", f.ID, err)
		}
	}
	seen := make(map[string]bool, len(s.Endpoints))
	s.Endpoints = slices.DeleteFunc(s.Endpoints, func(f Findings) bool {
		again := seen[f.ID]
		seen[f.ID] = true
		return again
	})
	return nil
}

func (f *Findings) check() error {
	switch {
	case len(f.ID) > mostID:
		return fmt.Errorf("an ID of %d bytes", len(f.ID))
	case f.Ejections < 0 || f.Ejections > 1_000_000:
		return fmt.Errorf("%d ejections", f.Ejections)
	case f.EjectedFor < 0 || f.EjectedFor > 0 && f.Ejections == 0:
		return fmt.Errorf("ejected for %s, %d times", f.EjectedFor, f.Ejections)
	case len(f.Verdicts) > mostVerdicts:
		return fmt.Errorf("%d verdicts", len(f.Verdicts))
	}
	if f.Admin != "" {
		if _, err := ParseAdmin(f.Admin); err != nil {
			return err
		}
	}
	for _, state := range f.Verdicts {
		if _, err := ParseActive(state); err != nil {
			return err
		}
	}
	return nil
}
