package site

// MemoryUsed returns how many bytes the present build keeps in memory.
func (s *Site) MemoryUsed() int {
	s.current.mu.Lock()
	defer s.current.mu.Unlock()
	total := 0
	for _, f := range s.current.files {
		total += f.cost()
	}
	return total
}
