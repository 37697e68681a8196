"""The virtual microphone from login on, as a service of the user: by systemd, launchd or the Task Scheduler."""
