package progress

import (
	"regexp"
	"strconv"

	"github.com/webordinary/router/containerboot/bootapi"
)

var (
	// gitPercent is git's own ("Receiving objects:  43% (43/100)") and that of its server
	// and of Git LFS, which have the same form.
	gitPercent = regexp.MustCompile(`^(?:remote: )?([A-Z][A-Za-z ]{3,30}): +(\d{1,3})% \(`)
	// astroImages ends Astro's line for an image that it has made smaller.
	astroImages = regexp.MustCompile(`▶ \S+ \(.*\) \((\d{1,6})/(\d{1,6})\)$`)
)

// percentOf reads what a line of output says of how much is done. Package managers say
// nothing of the kind where nobody sits at a terminal, and Astro only of images.
func percentOf(phase bootapi.Phase, line string) (step string, percent int, ok bool) {
	switch phase {
	case bootapi.PhaseCloning:
		m := gitPercent.FindStringSubmatch(line)
		if m == nil {
			return "", 0, false
		}
		percent, err := strconv.Atoi(m[2])
		return m[1], percent, err == nil && percent <= 100
	case bootapi.PhaseBuilding:
		m := astroImages.FindStringSubmatch(line)
		if m == nil {
			return "", 0, false
		}
		done, err := strconv.Atoi(m[1])
		all, errAll := strconv.Atoi(m[2])
		if err != nil || errAll != nil || done > all || all == 0 {
			return "", 0, false
		}
		return "making images", 100 * done / all, true
	default:
		return "", 0, false
	}
}
