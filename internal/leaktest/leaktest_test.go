package leaktest

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"go.uber.org/goleak"
)

func TestWhatIsEndingIsWaitedFor(t *testing.T) {
	already := goleak.IgnoreCurrent()
	end := make(chan struct{})
	go func() { <-end }()
	assert.Error(t, goleak.Find(already))
	time.AfterFunc(time.Second, func() { close(end) }) // longer than goleak itself waits
	VerifyNone(t, already)
}
