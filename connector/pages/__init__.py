"""What people look at: the report and the dashboard, rendered here, with charts as SVG. No script is needed."""
