package bulk

import (
	"github.com/webordinary/router/configstore"
)

// Step is one client to write.
type Step struct {
	configstore.Write

	// claims and releases are the edit hosts that the client gets and gives up.
	claims, releases []string
}

// group is steps that belong into one transaction, by their indexes: hosts move between
// their clients.
type group []int

// groups puts the steps between which hosts move together, in the order of the first of each.
func groups(steps []Step) []group {
	releasedBy := make(map[string]int)
	for i, s := range steps {
		for _, host := range s.releases {
			releasedBy[host] = i
		}
	}
	sets := newSets(len(steps))
	for i, s := range steps {
		for _, host := range s.claims {
			if by, ok := releasedBy[host]; ok {
				sets.join(i, by)
			}
		}
	}
	var all []group
	at := make(map[int]int) // representative → index in all
	for i := range steps {
		set := sets.find(i)
		j, ok := at[set]
		if !ok {
			j = len(all)
			at[set] = j
			all = append(all, nil)
		}
		all[j] = append(all[j], i)
	}
	return all
}

// sets are disjoint sets of numbers; each number points towards its set's representative.
type sets []int

func newSets(n int) sets {
	s := make(sets, n)
	for i := range s {
		s[i] = i
	}
	return s
}

func (s sets) find(i int) int {
	for s[i] != i {
		s[i] = s[s[i]]
		i = s[i]
	}
	return i
}

func (s sets) join(i, j int) { s[s.find(j)] = s.find(i) }
