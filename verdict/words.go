package verdict

import (
	"fmt"
	"iter"
	"time"
)

const (
	// mostWords are kept of endpoints that are not in the list: as many as are
	// saved.
	mostWords = mostSaved

	// forgetWord is how long a word is saved about an endpoint that has left.
	forgetWord = 90 * 24 * time.Hour
)

// Words are what operators said of endpoints, by ID, Enabled too: what is said
// now wins over what is restored. They outlive the endpoint.
type Words map[string]Word

// Word is what an operator said of an endpoint.
type Word struct {
	Admin Admin
	By    string
	When  time.Time
	Left  time.Time // when the list lost the endpoint; zero is not
}

// Say takes a word. It may be of an endpoint that is away.
func (w Words) Say(id string, a Admin, by string, now time.Time, listed bool) error {
	word := Word{Admin: a, By: Tidy(by), When: now}
	if !listed {
		if _, said := w[id]; !said && len(w) >= mostWords {
			return fmt.Errorf("endpoint %.80q is not in this pool, and of others %d words are kept already", id, len(w))
		}
		word.Left = now
	}
	w[id] = word
	return nil
}

// Of is what an operator wants of an endpoint, and who it was if it matters.
func (w Words) Of(id string) (a Admin, by string) {
	if word := w[id]; word.Admin != Enabled {
		return word.Admin, word.By
	}
	return Enabled, ""
}

// Leave notes when the list lost an endpoint; zero is that it is there.
func (w Words) Leave(id string, when time.Time) {
	if word, said := w[id]; said {
		word.Left = when
		w[id] = word
	}
}

// Note writes down what was said of an endpoint. Ready goes without saying.
func (w Words) Note(f *Findings) {
	if word := w[f.ID]; word.Admin != Enabled {
		f.Admin, f.By, f.Since, f.Left = word.Admin.String(), word.By, word.When, word.Left
	}
}

// Away are the findings of endpoints that have left the list not too long ago.
func (w Words) Away(now time.Time) iter.Seq[Findings] {
	return func(yield func(Findings) bool) {
		for id, word := range w {
			if word.Left.IsZero() || now.Sub(word.Left) >= forgetWord {
				continue
			}
			f := Findings{ID: id}
			if w.Note(&f); !yield(f) {
				return
			}
		}
	}
}

// Resume takes a word that was saved at a time, unless something was said since.
func (w Words) Resume(f *Findings, saved time.Time) (taken bool) {
	if _, said := w[f.ID]; said || f.word() == Enabled {
		return false
	}
	left := f.Left
	if left.IsZero() { // it was in the list then
		left = saved
	}
	w[f.ID] = Word{f.word(), Tidy(f.By), f.Since, left}
	return true
}
