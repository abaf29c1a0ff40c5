# make -f check.mk: the desktop shows a folder.
check: found.json
	@echo "the folder is there"

found.json: desktop.png folder.png
	patchsim match desktop.png folder.png --threshold 0.95 --no-heatmap --format json > $@

.DELETE_ON_ERROR: # a search that finds nothing leaves no found.json behind
